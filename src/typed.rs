//! Input as people type and paste it, made plain for the parsers.
//!
//! Keyboards and clipboards add invisible marks, many kinds of spaces and dashes, and digits of other scripts. Each
//! function returns the plain spelling, and a parser then accepts or refuses this spelling. So keys, limits and
//! references only ever have the plain spelling. Input that is already plain is scanned once and not copied.
//!
//! No function changes the value of a digit, or the order of the digits. A character stays if it is neither a digit nor
//! a separator nor an invisible mark, and the parser then refuses this character.

mod characters;

use crate::language::LONGEST_TAG;
use characters::{digit, is_dash, is_full_stop, is_invisible, latin};
use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

pub use characters::is_visible;

/// The most characters of a typed code. Longer texts are left as they are, and no code has their shape.
const LONGEST_CODE: usize = 32;

/// The most characters of a language with what systems append to it, such as `ca_ES.UTF-8@valencia`.
const LONGEST_LOCALE: usize = 2 * LONGEST_TAG;

/// A phone number. Invisible marks are left out. Digits of all scripts, the plus and the separators become ASCII.
#[must_use]
pub fn number(text: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_digit() || b"+ -.()".contains(&byte);
    if text.starts_with('+') && text.bytes().all(is_plain) {
        return Cow::Borrowed(text);
    }
    // A line break or a tab between digits could separate two numbers. So it stays, except at the ends.
    let text = text.trim_matches(|c: char| c.is_whitespace() || is_invisible(c));
    // `1234567/8` is a way to write two numbers, 1234567 and 1234568. In one number, at least four digits follow a slash.
    let after_slash = text.rsplit_once(['/', '／']).map(|(_, after)| after);
    let digits = |text: &str| text.chars().filter_map(digit).count();
    let lists_numbers = after_slash.is_some_and(|after| digits(after) < 4);
    let plain = |c: char| match c {
        '＋' => '+',
        '（' => '(',
        '）' => ')',
        '．' => '.',
        '/' | '／' if !lists_numbers => ' ',
        _ if c.is_whitespace() && c != '\t' && !is_line_break(c) => ' ',
        _ if is_dash(c) => '-',
        _ => digit(c).unwrap_or(c),
    };
    let seen = text.chars().filter(|c| !is_invisible(*c));
    Cow::Owned(seen.map(plain).collect())
}

/// Makes a code plain: removes white space, dashes, invisible marks and a full stop at the end. Digits of all scripts
/// and full-width letters become ASCII.
#[must_use]
pub fn code(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| byte.is_ascii_alphanumeric()) || text.chars().count() > LONGEST_CODE
    {
        return Cow::Borrowed(text);
    }
    let is_left_out = |c: char| c.is_whitespace() || is_invisible(c) || is_dash(c);
    let text = text.trim_matches(|c: char| c.is_whitespace() || is_invisible(c));
    let text = text.strip_suffix(is_full_stop).unwrap_or(text);
    let kept = text.chars().filter(|c| !is_left_out(*c));
    Cow::Owned(
        kept.map(|c| digit(c).or_else(|| latin(c)).unwrap_or(c))
            .collect(),
    )
}

/// A language: the tag in a locale such as `pt_BR.UTF-8`, and the first one in a list such as `de-DE,de;q=0.9`.
#[must_use]
pub fn language(text: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if text.bytes().all(is_plain) || text.chars().count() > LONGEST_LOCALE {
        return Cow::Borrowed(text);
    }
    let is_ignored = |c: char| c.is_whitespace() || is_invisible(c);
    let mut parts = text.split(['.', '@', ',', ';']);
    let tag = parts.next().unwrap_or_default().trim_matches(is_ignored);
    Cow::Owned(tag.replace('_', "-"))
}

/// The address in a text such as `203.0.113.9`, `203.0.113.9:1234` or `[2001:db8::8]:5555`. The port in such a text is
/// the client's port, which load balancers can append.
#[must_use]
pub fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    if let Ok(with_port) = text.parse::<SocketAddr>() {
        return Some(with_port.ip());
    }
    let inside = text.strip_prefix('[')?.strip_suffix(']')?;
    inside.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
}

/// The value of an `Idempotency-Key`, or `None` if it is no valid key. The specification of this header puts the key in
/// double quotes, as a string of structured fields, and browsers do so. The same key without quotes counts as equal.
#[must_use]
pub fn idempotency_key(text: &str) -> Option<Cow<'_, str>> {
    const LONGEST: usize = 64;
    // Some origins join two headers with a comma. So a comma is part of a key only between quotes.
    let key = match unquoted(text) {
        Some(key) => key,
        None if text.contains(',') => return None,
        None => Cow::Borrowed(text),
    };
    let is_printable = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
    ((1..=LONGEST).contains(&key.len()) && key.bytes().all(is_printable)).then_some(key)
}

/// The content of a string of structured fields (RFC 8941), or `None` if the text is none.
fn unquoted(text: &str) -> Option<Cow<'_, str>> {
    let inside = text.strip_prefix('"')?.strip_suffix('"')?;
    if !inside.contains(['"', '\\']) {
        return Some(Cow::Borrowed(inside));
    }
    let mut content = String::with_capacity(inside.len());
    let mut characters = inside.chars();
    while let Some(c) = characters.next() {
        match c {
            '"' => return None,
            '\\' => content.push(characters.next().filter(|c| matches!(c, '"' | '\\'))?),
            _ => content.push(c),
        }
    }
    Some(Cow::Owned(content))
}

fn is_line_break(c: char) -> bool {
    matches!(
        c,
        '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}'
    )
}
