//! Cron expressions in English, in the words in which Airflow shows them.

/// `0 0 * * *` is `At 00:00`. Empty where Airflow says nothing: for what is not a cron expression of five fields, and for
/// the few that it cannot put into words.
pub(super) fn describe(expression: &str) -> String {
    Fields::new(expression).and_then(|fields| fields.describe()).unwrap_or_default()
}

const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

struct Fields {
    minute: String,
    hour: String,
    day: String,
    month: String,
    weekday: String,
}

/// How the parts of one field are put into words.
struct Words<'a> {
    /// `*`
    all: &'a str,
    /// One value.
    item: &'a dyn Fn(&str) -> Option<String>,
    /// `*/n`, with `{}` for the number.
    step: &'a str,
    /// `a-b` as the whole field.
    between: (&'a str, &'a str, &'a str),
    /// `a-b` within a list.
    through: &'a str,
    /// What stands around values, given the field.
    around: &'a dyn Fn(&str) -> (String, &'a str),
}

impl Fields {
    fn new(expression: &str) -> Option<Self> {
        let parts: Vec<&str> = expression.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = parts.as_slice() else { return None };
        let minute = from_first(minute, "0/");
        let mut hour = from_first(hour, "0/");
        let day = from_first(&day.replace('?', "*"), "1/");
        let month = up_to_last(&numbered(&from_first(month, "1/"), &MONTHS, 1), "12");
        let weekday = from_first(&weekday.replace('?', "*"), "1/");
        let weekday = up_to_last(&numbered(&sunday_is_zero(&weekday), &DAYS, 0), "6");
        if minute.contains(['*', '/']) && !hour.contains(['*', '-', ',', '/']) {
            hour = format!("{hour}-{hour}");
        }
        let every = |field: String| if field == "*/1" { "*".to_owned() } else { field };
        Some(Self {
            minute: every(minute),
            hour: every(hour),
            day: every(day),
            month: every(month),
            weekday: every(weekday),
        })
    }

    fn describe(&self) -> Option<String> {
        let text = [self.time()?, self.day()?, self.weekday()?, self.month()?].concat();
        let text = text.replace(", every minute", "").replace(", every hour", "").replace(", every day", "");
        let text = text.strip_suffix(", ").or(text.strip_suffix(',')).unwrap_or(&text);
        let first = text.chars().next()?;
        Some(format!("{}{}", first.to_uppercase(), &text[first.len_utf8()..]))
    }

    fn time(&self) -> Option<String> {
        let is_plain = |field: &str| !field.contains(['/', '-', ',', '*']);
        let (minute, hour) = (self.minute.as_str(), self.hour.as_str());
        if is_plain(minute) && is_plain(hour) {
            return Some(format!("At {}", clock(hour, minute)?));
        }
        if minute.contains('-') && !minute.contains(',') && is_plain(hour) {
            let (from, to) = minute.split_once('-')?;
            return Some(format!("Every minute between {} and {}", clock(hour, from)?, clock(hour, to)?));
        }
        if hour.contains(',') && !hour.contains('-') && is_plain(minute) {
            let times: Option<Vec<_>> = hour.split(',').map(|hour| clock(hour, minute)).collect();
            let times = times?;
            let (last, others) = times.split_last()?;
            return Some(format!("At {} and {last}", others.join(", ")));
        }
        let (minutes, hours) = (self.minutes()?, self.hours()?);
        let comma = if minutes.is_empty() || hours.is_empty() { "" } else { ", " };
        Some(format!("{minutes}{comma}{hours}"))
    }

    fn minutes(&self) -> Option<String> {
        let in_hours = self.hour.contains('-') && !self.hour.contains(['/', ',']);
        if self.minute == "0" && !in_hours {
            return Some(String::new());
        }
        let words = Words {
            all: "every minute",
            item: &|minute| Some(minute.to_owned()),
            step: "every {} minutes",
            between: ("minutes ", " through ", " past the hour"),
            through: " through ",
            around: &|_| ("at ".to_owned(), " minutes past the hour"),
        };
        words.describe(&self.minute)
    }

    fn hours(&self) -> Option<String> {
        let words = Words {
            all: "every hour",
            item: &|hour| clock(hour, "0"),
            step: "every {} hours",
            between: ("between ", " and ", ""),
            through: " through ",
            around: &|_| ("at ".to_owned(), ""),
        };
        words.describe(&self.hour)
    }

    fn day(&self) -> Option<String> {
        let day = self.day.as_str();
        if day == "*" && self.weekday != "*" {
            return Some(String::new());
        }
        if day == "L" {
            return Some(", on the last day of the month".to_owned());
        }
        if day == "LW" || day == "WL" {
            return Some(", on the last weekday of the month".to_owned());
        }
        if let Some(day) = day.strip_suffix('W').or(day.strip_prefix('W')).and_then(|day| day.parse::<u8>().ok()) {
            let weekday = if day == 1 { "first weekday".to_owned() } else { format!("weekday nearest day {day}") };
            return Some(format!(", on the {weekday} of the month"));
        }
        if let Some(before) = day.strip_prefix("L-").filter(|before| before.parse::<u8>().is_ok()) {
            return Some(format!(", {before} days before the last day of the month"));
        }
        let words = Words {
            all: ", every day",
            item: &|day| Some(day.to_owned()),
            step: ", every {} days",
            between: (", between day ", " and ", " of the month"),
            through: " through ",
            around: &|_| (", on day ".to_owned(), " of the month"),
        };
        words.describe(day)
    }

    fn month(&self) -> Option<String> {
        let words = Words {
            all: "",
            item: &|month| MONTHS.get(month.parse::<usize>().ok()?.checked_sub(1)?).map(|&name| name.to_owned()),
            step: ", every {} months",
            between: (", ", " through ", ""),
            through: " through ",
            around: &|_| (", only in ".to_owned(), ""),
        };
        words.describe(&self.month)
    }

    fn weekday(&self) -> Option<String> {
        let field = self.weekday.as_str();
        if field == "*" {
            return Some(String::new());
        }
        let words = Words {
            all: ", every day",
            item: &day_name,
            step: ", every {} days of the week",
            between: (", ", " through ", ""),
            through: " through ",
            around: &|field| match field.split_once('#') {
                Some((_, week)) => {
                    let week = week.parse::<usize>().ok().and_then(|week| week.checked_sub(1));
                    let names = ["first", "second", "third", "fourth", "fifth"];
                    let name = week.and_then(|week| names.get(week)).unwrap_or(&"");
                    (format!(", on the {name} "), " of the month")
                }
                None if field.contains('L') => (", on the last ".to_owned(), " of the month"),
                // A restricted day of the month is an alternative, not a further condition.
                None if self.day != "*" => (", or on ".to_owned(), ""),
                None => (", only on ".to_owned(), ""),
            },
        };
        let cadence = field.split_once('/').filter(|(_, step)| step.bytes().all(|byte| byte.is_ascii_digit()));
        let Some((base, step)) = cadence else { return words.describe(field) };
        if base.contains(',') {
            let around = |_: &str| (", only on ".to_owned(), "");
            let days = Words { around: &around, ..words }.describe(base)?;
            return Some(format!(", every {step} weeks{days}"));
        }
        let Some((from, to)) = base.split_once('-') else { return words.describe(field) };
        let (first, last) = (from.parse::<u32>().ok()?, to.parse::<u32>().ok()?);
        let end = if last == 0 { 7 } else { last };
        if step.parse::<u32>().is_ok_and(|step| i64::from(step) < i64::from(end) - i64::from(first) + 1) {
            return words.describe(field);
        }
        if last == 6 {
            return Some(format!(", every {step} weeks, only on {}", day_name(from)?));
        }
        Some(format!(", every {step} weeks, {} through {}", day_name(from)?, day_name(to)?))
    }
}

impl Words<'_> {
    fn describe(&self, field: &str) -> Option<String> {
        if field == "*" {
            return Some(self.all.to_owned());
        }
        if field.contains(',') {
            return self.list(field);
        }
        if let Some((base, step)) = field.split_once('/') {
            let every = self.every(step);
            if base.contains('-') {
                let between = self.between(base)?;
                let comma = if between.starts_with(", ") { "" } else { ", " };
                return Some(format!("{every}{comma}{between}"));
            }
            if base.contains('*') {
                return Some(every);
            }
            let first = self.one(base)?.replace(", ", "");
            return Some(format!("{every}, starting {first}"));
        }
        if field.contains('-') { self.between(field) } else { self.one(field) }
    }

    fn one(&self, item: &str) -> Option<String> {
        let (before, after) = (self.around)(item);
        Some(format!("{before}{}{after}", (self.item)(item)?))
    }

    fn every(&self, step: &str) -> String {
        if step == "1" && self.step == ", every {} days" {
            return ", every day".to_owned();
        }
        self.step.replace("{}", step)
    }

    /// The last hour of a range goes on until its last minute.
    fn ends(&self, range: &str) -> Option<(String, String)> {
        let mut ends = range.split('-');
        let (from, to) = (ends.next()?, ends.next()?);
        Some(((self.item)(from)?, (self.item)(to)?.replace(":00", ":59")))
    }

    fn between(&self, range: &str) -> Option<String> {
        let (from, to) = self.ends(range)?;
        let (before, between, after) = self.between;
        Some(format!("{before}{from}{between}{to}{after}"))
    }

    fn through(&self, range: &str) -> Option<String> {
        let (from, to) = self.ends(range)?;
        Some(format!("{from}{}{to}", self.through))
    }

    fn list(&self, field: &str) -> Option<String> {
        let items: Option<Vec<String>> = field.split(',').map(|item| self.listed(item)).collect();
        let items = items?;
        let (last, others) = items.split_last()?;
        let comma = if others.len() > 1 { "," } else { "" };
        let (before, after) = (self.around)(field);
        Some(format!("{before}{}{comma} and {last}{after}", others.join(", ")))
    }

    fn listed(&self, item: &str) -> Option<String> {
        let Some((base, step)) = item.split_once('/') else {
            return if item.contains('-') { self.through(item) } else { (self.item)(item) };
        };
        let every = self.every(step);
        let every = every.strip_prefix(", ").unwrap_or(&every);
        if base.contains('-') {
            return Some(format!("{every}, {}", self.through(base)?));
        }
        if base == "*" {
            return Some(every.to_owned());
        }
        Some(format!("{every}, starting {}", (self.item)(base)?))
    }
}

/// A step from the first value on is one over all values.
fn from_first(field: &str, first: &str) -> String {
    if field.starts_with(first) { field.replace(first, "*/") } else { field.to_owned() }
}

/// A step from a value on goes up to the last one.
fn up_to_last(field: &str, last: &str) -> String {
    match field.split_once('/') {
        Some((from, step)) if !field.contains(['*', '-', ',']) => format!("{from}-{last}/{step}"),
        _ => field.to_owned(),
    }
}

/// Names become numbers.
fn numbered(field: &str, names: &[&str], first: usize) -> String {
    let mut field = field.to_uppercase();
    for (number, name) in names.iter().enumerate() {
        field = field.replace(&name[..3].to_uppercase(), &(number + first).to_string());
    }
    field
}

/// Sunday may be 7; steps and weeks of the month are not days.
fn sunday_is_zero(field: &str) -> String {
    let mut before = ' ';
    let mut out = String::with_capacity(field.len());
    for (at, c) in field.chars().enumerate() {
        let is_day = at == 0 || !(before == '#' || before == '/' || before.is_ascii_digit());
        out.push(if c == '7' && is_day { '0' } else { c });
        before = c;
    }
    out
}

fn day_name(day: &str) -> Option<String> {
    let number = match day.split_once('#') {
        Some((number, _)) => number.to_owned(),
        None => day.replace('L', ""),
    };
    DAYS.get(number.parse::<usize>().ok()?).map(|&name| name.to_owned())
}

fn clock(hour: &str, minute: &str) -> Option<String> {
    Some(format!("{:02}:{:02}", hour.parse::<u32>().ok()?, minute.parse::<u32>().ok()?))
}

#[cfg(test)]
mod tests {
    use super::describe;

    #[test]
    fn expressions_read_as_in_airflow() {
        let cases = include_str!("../../tests/data/cron_descriptions.tsv");
        let cases: Vec<_> = cases.lines().filter(|line| !line.starts_with('#')).collect();
        assert!(cases.len() > 500);
        let wrong: Vec<_> = cases
            .iter()
            .filter_map(|line| {
                let (expression, description) = line.split_once('\t').unwrap();
                let ours = describe(expression);
                (ours != description).then(|| format!("{expression}: {ours:?}, not {description:?}"))
            })
            .collect();
        assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    }

    #[test]
    fn what_is_no_expression_has_no_words() {
        for text in ["", "x", "* * * *", "* * * * * *", "é ü ß * *", "1- -2 * * ,", "* * / - #", "0 0 ,, */ 7#"] {
            describe(text);
        }
        assert_eq!(describe("* * * *"), "");
    }
}
