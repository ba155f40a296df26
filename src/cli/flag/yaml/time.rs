//! Times in YAML, which come out as those of JSON do in Go: RFC 3339.

use jiff::civil::{Date, Time as Clock};

/// A time, or a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Time {
    date: Date,
    clock: Clock,
    /// Minutes east of UTC.
    offset: i32,
}

impl Time {
    /// Reads `2026-01-31`, `2026-01-31T10:00:00Z`, with an offset too, and `2026-01-31 10:00:00`; parts but the year may
    /// have one digit where they begin with zero, and seconds a fraction.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut rest = Rest(text);
        let year = rest.digits(4..=4)?;
        rest.take('-')?;
        let month = rest.digits(1..=2)?;
        rest.take('-')?;
        let day = rest.digits(1..=2)?;
        let date =
            Date::new(i16::try_from(year).ok()?, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()?;
        if rest.0.is_empty() {
            return Some(Self { date, clock: Clock::midnight(), offset: 0 });
        }
        let has_offset = match rest.0.as_bytes()[0] {
            b'T' | b't' => true,
            b' ' => false,
            _ => return None,
        };
        rest.0 = &rest.0[1..];
        let clock = rest.clock()?;
        let offset = if has_offset { rest.offset()? } else { 0 };
        rest.0.is_empty().then_some(Self { date, clock, offset })
    }

    /// As RFC 3339; none where Go refuses to write it.
    pub(super) fn written(&self) -> Option<String> {
        let (date, clock) = (self.date, self.clock);
        let mut text = format!("{:04}-{:02}-{:02}T", date.year(), date.month(), date.day());
        text.push_str(&format!("{:02}:{:02}:{:02}", clock.hour(), clock.minute(), clock.second()));
        if clock.subsec_nanosecond() != 0 {
            let fraction = format!(".{:09}", clock.subsec_nanosecond());
            text.push_str(fraction.trim_end_matches('0'));
        }
        let (hours, minutes) = (self.offset.abs() / 60, self.offset.abs() % 60);
        match self.offset {
            0 => text.push('Z'),
            east => text.push_str(&format!("{}{hours:02}:{minutes:02}", if east > 0 { '+' } else { '-' })),
        }
        (hours < 24).then_some(text)
    }
}

/// What is still to be read.
struct Rest<'a>(&'a str);

impl Rest<'_> {
    fn take(&mut self, sign: char) -> Option<()> {
        self.0 = self.0.strip_prefix(sign)?;
        Some(())
    }

    /// As many digits as there are, of a number of them.
    fn digits(&mut self, count: std::ops::RangeInclusive<usize>) -> Option<u32> {
        let found = self.0.bytes().take(*count.end()).take_while(u8::is_ascii_digit).count();
        let (digits, rest) = self.0.split_at(found);
        self.0 = rest;
        count.contains(&found).then(|| digits.parse().ok()).flatten()
    }

    fn clock(&mut self) -> Option<Clock> {
        let hour = self.digits(1..=2)?;
        self.take(':')?;
        let minute = self.digits(1..=2)?;
        self.take(':')?;
        let second = self.digits(1..=2)?;
        let small = |number: u32| i8::try_from(number).ok();
        // jiff takes a leap second, and Go takes none.
        if second > 59 {
            return None;
        }
        Clock::new(small(hour)?, small(minute)?, small(second)?, self.fraction()?).ok()
    }

    /// Nanoseconds; digits beyond them are read past.
    fn fraction(&mut self) -> Option<i32> {
        let Some(digits) = self.0.strip_prefix(['.', ',']) else { return Some(0) };
        let count = digits.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, rest) = digits.split_at(count);
        if count == 0 {
            return None;
        }
        self.0 = rest;
        format!("{:0<9}", &digits[..count.min(9)]).parse().ok()
    }

    fn offset(&mut self) -> Option<i32> {
        let sign = match self.0.chars().next()? {
            'Z' => {
                self.0 = &self.0[1..];
                return Some(0);
            }
            '+' => 1,
            '-' => -1,
            _ => return None,
        };
        self.0 = &self.0[1..];
        let hours = self.digits(2..=2)?;
        self.take(':')?;
        let minutes = self.digits(2..=2)?;
        // What Go reads, of which it then refuses to write a day and more.
        let is_offset = hours <= 24 && minutes <= 60;
        is_offset.then(|| i32::try_from(hours * 60 + minutes).ok().map(|offset| sign * offset)).flatten()
    }
}
