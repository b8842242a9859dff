//! What a caller accepts, weighed as werkzeug does, on which Airflow is built.

/// The best of `offered` by the `Accept` header; none if nothing fits or nothing was said.
pub(super) fn best_match<'a>(accept: Option<&str>, offered: &[&'a str]) -> Option<&'a str> {
    let mut ranges: Vec<Range<'_>> = accept?.split(',').filter_map(Range::parse).collect();
    ranges.sort_by(|a, b| b.specificity.cmp(&a.specificity).then(b.quality.total_cmp(&a.quality)));
    let mut best: Option<(&str, &Range<'_>)> = None;
    for offer in offered {
        for range in &ranges {
            if best.is_some_and(|(_, chosen)| range.quality <= chosen.quality) {
                break;
            }
            if range.quality > 0.0 && range.takes(offer) {
                best = Some((offer, range));
            }
        }
    }
    best.map(|(offer, _)| offer)
}

struct Range<'a> {
    kind: &'a str,
    subtype: &'a str,
    specificity: u8,
    quality: f64,
}

impl<'a> Range<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/')?;
        let quality = parts.find_map(|part| part.strip_prefix("q="));
        let quality = quality.map_or(1.0, |text| text.parse::<f64>().unwrap_or(0.0).clamp(0.0, 1.0));
        let specificity = u8::from(kind != "*") + u8::from(subtype != "*");
        Some(Self { kind, subtype, specificity, quality })
    }

    fn takes(&self, offer: &str) -> bool {
        let Some((kind, subtype)) = offer.split_once('/') else {
            return false;
        };
        (self.kind == "*" || self.kind.eq_ignore_ascii_case(kind))
            && (self.subtype == "*" || self.subtype.eq_ignore_ascii_case(subtype))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_offer_wins_among_equals() {
        let offered = ["text/plain", "application/json"];
        for (accept, expected) in [
            (None, None),
            (Some(""), None),
            (Some("*/*"), Some("text/plain")),
            (Some("application/json"), Some("application/json")),
            (Some("application/json, */*"), Some("text/plain")),
            (Some("application/json, */*;q=0.8"), Some("application/json")),
            (Some("application/xml"), None),
            (Some("text/*"), Some("text/plain")),
            (Some("text/plain;q=0"), None),
        ] {
            assert_eq!(best_match(accept, &offered), expected, "{accept:?}");
        }
    }
}
