//! Just enough of Rust's lexing to tell code from comments and strings.

/// Returns `text` with comments, string and character literals blanked out.
///
/// Line ends stay where they are, so that line numbers hold.
pub(crate) fn code_of(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = skip(&chars, at);
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            out.extend(
                chars[at..end]
                    .iter()
                    .map(|&c| if c == '\n' { '\n' } else { ' ' }),
            );
            at = end;
        }
    }
    out
}

/// Returns where the comment or literal that starts at `at` ends; `at` if none does.
fn skip(chars: &[char], at: usize) -> usize {
    let next = |n: usize| chars.get(at + n).copied().unwrap_or('\0');
    match (chars[at], next(1)) {
        ('/', '/') => until(chars, at, |c| c == '\n'),
        ('/', '*') => block_comment(chars, at),
        ('"', _) => string(chars, at + 1),
        ('r', '"' | '#') if !is_word_before(chars, at) => raw_string(chars, at),
        // A lifetime has no closing quote two or more places on.
        ('\'', '\\') => until(chars, at + 3, |c| c == '\'') + 1,
        ('\'', _) if next(2) == '\'' => at + 3,
        _ => at,
    }
}

fn until(chars: &[char], from: usize, stop: impl Fn(char) -> bool) -> usize {
    (from..chars.len())
        .find(|&i| stop(chars[i]))
        .unwrap_or(chars.len())
}

fn block_comment(chars: &[char], at: usize) -> usize {
    let (mut i, mut depth) = (at, 0);
    while i < chars.len() {
        match (chars[i], chars.get(i + 1)) {
            ('/', Some('*')) => (i, depth) = (i + 2, depth + 1),
            ('*', Some('/')) => (i, depth) = (i + 2, depth - 1),
            _ => i += 1,
        }
        if depth == 0 {
            break;
        }
    }
    i
}

fn string(chars: &[char], from: usize) -> usize {
    let mut i = from;
    while i < chars.len() && chars[i] != '"' {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    (i + 1).min(chars.len())
}

fn raw_string(chars: &[char], at: usize) -> usize {
    let hashes = until(chars, at + 1, |c| c != '#') - at - 1;
    let open = at + 1 + hashes;
    if chars.get(open) != Some(&'"') {
        return at; // a raw identifier
    }
    let closes = |i: usize| chars[i] == '"' && (1..=hashes).all(|n| chars.get(i + n) == Some(&'#'));
    let end = (open + 1..chars.len()).find(|&i| closes(i));
    end.map_or(chars.len(), |i| i + 1 + hashes)
}

fn is_word_before(chars: &[char], at: usize) -> bool {
    at > 0
        && is_word(chars[at - 1])
        && !(chars[at - 1] == 'b' && (at < 2 || !is_word(chars[at - 2])))
}

/// Tells whether `c` may stand in an identifier.
pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Lists the line numbers on which `wanted` stands in `code`, not as part of a longer word.
pub(crate) fn lines_with(code: &str, wanted: &str) -> Vec<usize> {
    let first_is_word = wanted.starts_with(is_word);
    let last_is_word = wanted.ends_with(is_word);
    let stands = |line: &str| {
        line.match_indices(wanted).any(|(i, _)| {
            let joined_before = first_is_word && line[..i].ends_with(is_word);
            let joined_after = last_is_word && line[i + wanted.len()..].starts_with(is_word);
            !joined_before && !joined_after
        })
    };
    let hits = code.lines().enumerate().filter(|(_, line)| stands(line));
    hits.map(|(n, _)| n + 1).collect()
}

/// Lists the first segments of every `crate::…` path in `code`, with their lines.
///
/// `crate::{a::B, c}` counts as `a` and `c`.
pub(crate) fn crate_paths(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with(|c| is_word(c) || c == '$') {
            continue;
        }
        let line = code[..at].matches('\n').count() + 1;
        let rest = &code[at + "crate::".len()..];
        let heads = if let Some(group) = rest.trim_start().strip_prefix('{') {
            group_heads(group)
        } else {
            vec![word_at(rest)]
        };
        found.extend(heads.into_iter().map(|head| (line, head)));
    }
    found
}

/// The first word of every entry of a `use` group, whose opening brace was just read.
fn group_heads(group: &str) -> Vec<String> {
    let (mut heads, mut depth, mut entry) = (Vec::new(), 0, String::new());
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => heads.push(word_at(&std::mem::take(&mut entry))),
            _ => entry.push(c),
        }
    }
    heads.push(word_at(&entry));
    heads.retain(|head| !head.is_empty());
    heads
}

fn word_at(text: &str) -> String {
    text.trim_start()
        .chars()
        .take_while(|&c| is_word(c))
        .collect()
}
