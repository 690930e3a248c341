//! Turns Amazon Polly's SSML into the words that a person hears.

/// The words of a document. `None` if the document is not SSML: its tags do not match, it has a
/// bare `&`, or no `<speak>` surrounds it.
///
/// Spelled-out text (`say-as` with `digits`, `characters`, `spell-out` or `telephone`) becomes
/// single characters. A break, or the end of a paragraph or sentence, becomes `…`. The alias of a
/// `sub` tag replaces the text inside the tag. Tags about pronunciation (`prosody`, `lang`, …) are
/// left out.
pub(crate) fn spoken_words(document: &str) -> Option<String> {
    let mut rest = document;
    let mut open: Vec<Element<'_>> = Vec::new();
    let mut heard = String::new();
    let mut is_over = false;
    loop {
        let (text, markup) = rest.split_once('<').unwrap_or((rest, ""));
        let is_last = text.len() == rest.len();
        let text = unescaped(text)?;
        match open.last() {
            None if !text.trim().is_empty() => return None,
            Some(_) if open.iter().any(|element| element.is_silent) => {}
            Some(_) if open.iter().any(|element| element.is_spelled) => {
                let characters = text
                    .chars()
                    .filter(|character| !character.is_whitespace())
                    .map(String::from);
                heard.push_str(&characters.collect::<Vec<_>>().join(" "));
            }
            _ => heard.push_str(&text),
        }
        if is_last {
            break;
        }
        let (tag, after) = split_at_end(markup)?;
        rest = after;
        if tag.starts_with(['!', '?']) {
            continue;
        }
        if let Some(name) = tag.strip_prefix('/') {
            let element = open
                .pop()
                .filter(|element| element.name == name.trim_end())?;
            if matches!(element.name, "p" | "s") {
                heard.push_str(" … ");
            }
            is_over = open.is_empty();
            continue;
        }
        let (tag, is_empty) = tag
            .strip_suffix('/')
            .map_or((tag, false), |tag| (tag, true));
        let element = Element::of(tag);
        if is_over || open.is_empty() != (element.name == "speak") {
            return None;
        }
        match element.name {
            "break" => heard.push_str(" … "),
            "sub" => heard.push_str(&unescaped(attribute(tag, "alias").unwrap_or_default())?),
            _ => {}
        }
        if is_empty {
            is_over = open.is_empty();
        } else {
            open.push(element);
        }
    }
    let mut words: Vec<_> = heard.split_whitespace().collect();
    // Adjacent pauses count as one.
    words.dedup_by(|word, before| *word == "…" && word == before);
    is_over.then(|| words.join(" ").trim_matches([' ', '…']).to_owned())
}

struct Element<'a> {
    name: &'a str,
    is_spelled: bool,
    is_silent: bool,
}

impl<'a> Element<'a> {
    fn of(tag: &'a str) -> Self {
        let name = tag.split_whitespace().next().unwrap_or_default();
        let spelled = ["digits", "characters", "spell-out", "telephone"];
        Self {
            name,
            is_spelled: name == "say-as"
                && attribute(tag, "interpret-as").is_some_and(|how| spelled.contains(&how)),
            is_silent: name == "sub",
        }
    }
}

/// Splits the markup into a tag without its brackets, and everything after the tag. The first `>`
/// is not always the end of the tag: a comment may contain tags, and an attribute may contain
/// brackets.
fn split_at_end(markup: &str) -> Option<(&str, &str)> {
    if let Some(comment) = markup.strip_prefix("!--") {
        return comment.split_once("-->").map(|(_, after)| ("!", after));
    }
    let mut quote = None;
    let end = markup.find(|character| {
        match (quote, character) {
            (None, '"' | '\'') => quote = Some(character),
            (Some(open), _) if open == character => quote = None,
            _ => {}
        }
        quote.is_none() && character == '>'
    })?;
    let (tag, after) = markup.split_at_checked(end)?;
    Some((tag, after.strip_prefix('>')?))
}

fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = tag.split_once(char::is_whitespace)?.1;
    loop {
        let (found, value) = rest.split_once('=')?;
        let value = value.trim_start();
        let quote = value
            .chars()
            .next()
            .filter(|quote| matches!(quote, '"' | '\''))?;
        let (value, after) = value.strip_prefix(quote)?.split_once(quote)?;
        if found.trim() == name {
            return Some(value);
        }
        rest = after;
    }
}

/// A text with its entities replaced. `None` if an `&` begins no entity.
fn unescaped(text: &str) -> Option<String> {
    let mut parts = text.split('&');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, after) = part.split_once(';')?;
        plain.push(match name {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            _ => {
                let number = name.strip_prefix('#')?;
                let number = match number.strip_prefix('x') {
                    Some(hex) => u32::from_str_radix(hex, 16),
                    None => number.parse(),
                };
                char::from_u32(number.ok()?)?
            }
        });
        plain.push_str(after);
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_not_spoken_but_take_effect() {
        for (document, expected) in [
            ("<speak>Hello</speak>", "Hello"),
            (
                "<?xml version='1.0'?>\n<speak>\n  Hello,\n  you\n</speak>\n",
                "Hello, you",
            ),
            (
                "<speak>Your code is <say-as interpret-as=\"digits\">012345</say-as>.</speak>",
                "Your code is 0 1 2 3 4 5.",
            ),
            (
                "<speak><prosody rate='slow'><say-as interpret-as='characters'>A1 B</say-as></prosody></speak>",
                "A 1 B",
            ),
            (
                "<speak><say-as interpret-as='cardinal'>123</say-as></speak>",
                "123",
            ),
            ("<speak><p>One</p><break/>two</speak>", "One … two"),
            (
                "<speak>One<break time=\"500ms\"/>two<break/></speak>",
                "One … two",
            ),
            (
                "<speak><p><s>One.</s><s>Two.</s></p></speak>",
                "One. … Two.",
            ),
            (
                "<speak>From <sub alias='Amazon Web Services'>AWS</sub></speak>",
                "From Amazon Web Services",
            ),
            ("<speak>A &amp; B &lt;3 &#233;&#xe9;</speak>", "A & B <3 éé"),
            ("<speak>a<!-- <b> & > -->b<mark name='a>b'/></speak>", "ab"),
            ("<speak/>", ""),
        ] {
            assert_eq!(
                spoken_words(document).as_deref(),
                Some(expected),
                "{document}"
            );
        }
    }

    #[test]
    fn malformed_documents_have_no_words() {
        for document in [
            "",
            "Hello",
            "<p>Hello</p>",
            "<speak>Hello",
            "Hello <speak>you</speak>",
            "<speak>Hello</speak> you",
            "<speak>Hello</speak><speak>you</speak>",
            "<speak>Hello</p></speak>",
            "<speak><p>Hello</speak></p>",
            "<speak>Marks & Spencer</speak>",
            "<speak>&unheard;</speak>",
            "<speak>&#xD800;</speak>",
            "<speak>a < b</speak>",
            "<speak><speak>a</speak></speak>",
            "<speak><!-- a</speak>",
        ] {
            assert_eq!(spoken_words(document), None, "{document}");
        }
    }
}
