//! The output of processes: split into lines, decoded, logged.

use std::borrow::Cow;
use std::panic::Location;
use std::process::Stdio;

use encoding_rs::Encoding;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use updraft_core::log::LogLevel;
use updraft_core::operator::TaskContext;

/// Longer lines are logged in pieces.
const MAX_LINE: usize = 1 << 20;

/// After so many bytes whoever writes has to wait until the log has them.
const MAX_AHEAD: usize = 4 << 20;

/// Lines that start with this were laid out by the process itself.
pub(crate) const LAID_OUT: char = '\u{1e}';

/// How bytes become text.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Decoder {
    Utf8,
    Ascii,
    Latin1,
    Other(&'static Encoding),
}

impl Decoder {
    /// The encoding that Python calls so.
    pub(crate) fn find(name: &str) -> Option<Self> {
        let plain: String = name.to_ascii_lowercase().chars().filter(char::is_ascii_alphanumeric).collect();
        Some(match plain.as_str() {
            "utf8" | "u8" | "utf" => Self::Utf8,
            "ascii" | "usascii" | "646" => Self::Ascii,
            "latin1" | "latin" | "iso88591" | "l1" | "8859" | "cp819" => Self::Latin1,
            _ => {
                let label = name.replace('_', "-");
                let windows = plain.strip_prefix("cp").map(|page| format!("windows-{page}"));
                let found = Encoding::for_label(label.as_bytes());
                Self::Other(found.or_else(|| Encoding::for_label(windows?.as_bytes()))?)
            }
        })
    }

    /// What cannot be decoded shows as `\xff`, as Python's `backslashreplace` does.
    fn decode(self, bytes: &[u8]) -> Cow<'_, str> {
        match self {
            Self::Utf8 => {
                if let Ok(text) = str::from_utf8(bytes) {
                    return text.into();
                }
                let mut text = String::with_capacity(bytes.len() + 16);
                for chunk in bytes.utf8_chunks() {
                    text.push_str(chunk.valid());
                    chunk.invalid().iter().for_each(|byte| text.push_str(&format!("\\x{byte:02x}")));
                }
                text.into()
            }
            Self::Ascii => bytes
                .iter()
                .map(|&byte| if byte < 128 { char::from(byte).to_string() } else { format!("\\x{byte:02x}") })
                .collect(),
            Self::Latin1 => bytes.iter().copied().map(char::from).collect(),
            Self::Other(encoding) => encoding.decode_without_bom_handling(bytes).0,
        }
    }
}

/// Reads what a group of processes writes, and logs it line by line.
#[derive(Debug)]
pub(crate) struct Output {
    pipe: Receiver,
    decoder: Decoder,
    rest: Vec<u8>,
    /// Whether `rest` goes on a line whose beginning was logged already.
    is_continued: bool,
    last_line: String,
    ahead: usize,
}

impl Output {
    /// The reading end, and the writing end once for stdout and once for stderr.
    pub(crate) fn new(decoder: Decoder) -> std::io::Result<(Self, Stdio, Stdio)> {
        let (reader, writer) = std::io::pipe()?;
        let again = writer.try_clone()?;
        let pipe = Receiver::from_owned_fd(reader.into())?;
        let rest = Vec::new();
        let output = Self { pipe, decoder, rest, is_continued: false, last_line: String::new(), ahead: 0 };
        Ok((output, writer.into(), again.into()))
    }

    /// Logs all until nobody holds the writing end any more. Nothing is lost if the future is dropped.
    pub(crate) async fn log_all(&mut self, context: &TaskContext) {
        let mut buffer = vec![0; 64 << 10];
        loop {
            if self.ahead >= MAX_AHEAD {
                context.log().flush().await;
                self.ahead = 0;
            }
            // A pipe that cannot be read has ended, for all that can be known.
            match self.pipe.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(count) => self.take(context, &buffer[..count]),
            }
        }
        if !self.rest.is_empty() {
            let rest = std::mem::take(&mut self.rest);
            self.log(context, &rest);
        }
    }

    /// Reads, and forgets, until nobody holds the writing end any more.
    pub(crate) async fn discard(&mut self) {
        let mut buffer = vec![0; 64 << 10];
        while self.pipe.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
    }

    /// Logs until `mark` comes, which is the end of a line, or nobody holds the writing end any more.
    pub(crate) async fn log_until(&mut self, context: &TaskContext, mark: &[u8]) {
        let mut buffer = vec![0; 64 << 10];
        let mut seen = 0;
        loop {
            let from = seen.min(self.rest.len());
            if let Some(at) = self.rest[from..].windows(mark.len()).position(|window| window == mark) {
                let mut lines = std::mem::take(&mut self.rest);
                lines.truncate(from + at);
                if !lines.is_empty() {
                    self.log(context, &lines);
                }
                self.is_continued = false;
                return;
            }
            // Whole lines do not hold the mark: it was looked for.
            self.take(context, &[]);
            seen = self.rest.len().saturating_sub(mark.len());
            if self.ahead >= MAX_AHEAD {
                context.log().flush().await;
                self.ahead = 0;
            }
            match self.pipe.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(count) => {
                    self.ahead += count;
                    self.rest.extend_from_slice(&buffer[..count]);
                }
            }
        }
    }

    /// The last line, without the space at its end.
    pub(crate) fn into_last_line(self) -> String {
        self.last_line
    }

    fn take(&mut self, context: &TaskContext, bytes: &[u8]) {
        self.ahead += bytes.len();
        self.rest.extend_from_slice(bytes);
        let end = match self.rest.iter().rposition(|&byte| byte == b'\n') {
            Some(last) => last + 1,
            // A secret is not cut: its pieces would not be known for one.
            None if self.rest.len() >= MAX_LINE => context.log().settled(&self.rest),
            None => return,
        };
        let rest = self.rest.split_off(end);
        let lines = std::mem::replace(&mut self.rest, rest);
        self.log(context, &lines);
    }

    #[track_caller]
    fn log(&mut self, context: &TaskContext, bytes: &[u8]) {
        let now = context.clock().now();
        let mut texts: Vec<String> = Vec::new();
        for line in bytes.split_inclusive(|&byte| byte == b'\n') {
            let decoded = self.decoder.decode(line);
            let text = decoded.trim_end();
            if !self.is_continued {
                self.last_line.clear();
            }
            let room = MAX_LINE.saturating_sub(self.last_line.len());
            self.last_line.push_str(&text[..text.floor_char_boundary(room)]);
            self.is_continued = !line.ends_with(b"\n");
            texts.push(text.to_owned());
        }
        let mut texts = texts.as_slice();
        while let Some(first) = texts.first() {
            let is_laid_out = first.starts_with(LAID_OUT);
            let count = texts.iter().take_while(|text| text.starts_with(LAID_OUT) == is_laid_out).count();
            let (group, others) = texts.split_at(count);
            if is_laid_out {
                let lines: Vec<&str> = group.iter().map(|text| text.trim_start_matches(LAID_OUT)).collect();
                context.log().line(&lines.join("\n"));
            } else {
                let texts = group.iter().map(String::as_str);
                context.log().records(now, LogLevel::Info, Location::caller(), texts);
            }
            texts = others;
        }
    }
}
