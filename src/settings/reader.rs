//! Reads environment variables one by one and collects every problem.

use super::file::{ConfigFile, List};
use super::{Otherwise, Problems, SETTINGS};
use std::fmt::Write;
use std::ops::RangeInclusive;

/// Reads settings and collects their problems.
///
/// A method that finds a problem reports it and returns a placeholder, so that later settings are still checked. No
/// placeholder is ever used: only [`Reader::finish`] returns the settings, and only if no problem was reported.
pub(super) struct Reader<'a> {
    variable: &'a dyn Fn(&str) -> Option<String>,
    problems: Vec<String>,
    /// The lists of the packaged file.
    pub(super) lists: Vec<List>,
    /// Whether the packaged file has a problem. Then nothing that it may contain is reported as missing.
    pub(super) file_is_unread: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(variable: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            variable,
            problems: Vec::new(),
            lists: Vec::new(),
            file_is_unread: false,
        }
    }

    /// Returns `settings` if there was no problem.
    pub(super) fn finish<T>(self, settings: T) -> Result<T, Problems> {
        if self.problems.is_empty() {
            Ok(settings)
        } else {
            Err(Problems(self.problems))
        }
    }

    /// Adds the problem `NAME WHAT`, but only once. A setting that several parts need is read several times.
    pub(super) fn report(&mut self, name: &str, what: &str) {
        let mut problem = format!("{name} {what}");
        if let Some(list) = self.list(name)
            && !what.contains("CONFIG_FILE")
        {
            let _ = write!(
                problem,
                " Entries of `{}` in CONFIG_FILE count too.",
                list.name
            );
        }
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    pub(super) fn has_problems(&self) -> bool {
        !self.problems.is_empty()
    }

    /// Adds problems that already begin with the name of their setting.
    pub(super) fn report_all(&mut self, problems: Vec<String>) {
        self.problems.extend(problems);
    }

    /// The value of a setting without surrounding blanks. If the setting is a list, the value has the entries of the
    /// variable, and after them the entries of the packaged file. An empty variable counts as unset.
    pub(super) fn raw(&self, name: &str) -> Option<String> {
        let own = self.variable(name);
        let Some(list) = self.list(name) else {
            return own;
        };
        let entries = list.entries.iter().map(|entry| entry.trim().to_owned());
        let all: Vec<_> = own.into_iter().chain(entries).collect();
        Some(all.join(&list.separator.to_string()))
    }

    /// The entries of a list, for lists whose entries in the packaged file may contain the separator.
    pub(super) fn entries(&self, name: &str, separator: char) -> Vec<String> {
        let own = self.variable(name);
        let own = own.iter().flat_map(|list| list.split(separator));
        let of_file = self.list(name).into_iter().flat_map(|list| &list.entries);
        own.chain(of_file.map(String::as_str))
            .map(|entry| entry.trim().to_owned())
            .collect()
    }

    fn variable(&self, name: &str) -> Option<String> {
        let value = (self.variable)(name)?;
        let value = value.trim();
        (!value.is_empty()).then(|| value.to_owned())
    }

    fn list(&self, name: &str) -> Option<&List> {
        self.lists.iter().find(|list| list.setting == name)
    }

    pub(super) fn is_set(&self, name: &str) -> bool {
        self.raw(name).is_some()
    }

    /// Whether a variable is set, but empty.
    pub(super) fn is_empty(&self, name: &str) -> bool {
        (self.variable)(name).is_some() && !self.is_set(name)
    }

    /// The settings among `names` that are set.
    pub(super) fn set_among(&self, names: &[&'static str]) -> Vec<&'static str> {
        let set = names.iter().filter(|name| self.is_set(name));
        set.copied().collect()
    }

    /// The value of a setting, or its default. Reports a setting that is missing and has no default.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        let default = SETTINGS
            .iter()
            .find(|setting| setting.name == name)
            .map(|setting| setting.otherwise);
        match (self.raw(name), default) {
            (Some(text), _) => Some(text),
            (None, Some(Otherwise::Default(default))) => Some(default.to_owned()),
            // It may be in the file, and then the file's problem is the only one.
            (None, _) if self.file_is_unread && ConfigFile::has_list(name) => None,
            (None, _) => {
                self.report(name, "is required.");
                None
            }
        }
    }

    /// Whether a value is the default of a setting.
    pub(super) fn is_default(name: &str, value: &str) -> bool {
        SETTINGS.iter().any(|setting| {
            setting.name == name
                && matches!(setting.otherwise, Otherwise::Default(own) if own == value)
        })
    }

    /// Parses a setting. The error of `parse` continues a sentence that begins with the name of the setting.
    pub(super) fn parsed<T>(
        &mut self,
        name: &str,
        placeholder: T,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> T {
        let Some(text) = self.text(name) else {
            return placeholder;
        };
        parse(&text).unwrap_or_else(|what| {
            self.report(name, &what);
            placeholder
        })
    }

    /// Reads one of several words, each with its meaning. The meaning of the first word is the placeholder.
    pub(super) fn choice<T: Copy, const N: usize>(
        &mut self,
        name: &str,
        first: (&str, T),
        others: [(&str, T); N],
    ) -> T {
        self.parsed(name, first.1, |text| {
            let words = || [first].into_iter().chain(others);
            let chosen = words().find(|(word, _)| *word == text);
            chosen.map(|(_, value)| value).ok_or_else(|| {
                let words: Vec<_> = words().map(|(word, _)| format!("`{word}`")).collect();
                format!("must be {}.", one_of(&words))
            })
        })
    }

    pub(super) fn number(&mut self, name: &str, range: &RangeInclusive<u8>) -> u8 {
        let (least, most) = (range.start(), range.end());
        self.parsed(name, *least, |text| {
            let number = text.parse().ok().filter(|number| range.contains(number));
            number.ok_or_else(|| format!("must be an integer from {least} to {most}."))
        })
    }

    /// Reads a text of so many characters, all of them allowed.
    pub(super) fn characters(
        &mut self,
        name: &str,
        length: RangeInclusive<usize>,
        allowed: impl Fn(char) -> bool,
        expected: &str,
    ) -> String {
        self.parsed(name, String::new(), |text| {
            if length.contains(&text.chars().count()) && text.chars().all(allowed) {
                Ok(text.to_owned())
            } else {
                Err(expected.to_owned())
            }
        })
    }

    /// As [`Self::characters`], for a setting that may be left out.
    pub(super) fn optional(
        &mut self,
        name: &str,
        length: RangeInclusive<usize>,
        allowed: impl Fn(char) -> bool,
        expected: &str,
    ) -> Option<String> {
        self.is_set(name)
            .then(|| self.characters(name, length, allowed, expected))
    }
}

/// Lists words as in "a, b or c".
fn one_of(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}
