//! Columns of text, four spaces apart.

/// A table of keys and values with its heading.
#[must_use]
pub fn key_value(rows: &[(String, String)]) -> String {
    let cells: Vec<Vec<String>> = rows.iter().map(|(k, v)| vec![k.clone(), v.clone()]).collect();
    columns(Some(&["Key", "Value"]), &cells)
}

/// A table; with a heading, each name is underlined.
#[must_use]
pub fn columns(heading: Option<&[&str]>, rows: &[Vec<String>]) -> String {
    let mut all: Vec<Vec<String>> = Vec::with_capacity(rows.len() + 2);
    if let Some(names) = heading {
        all.push(names.iter().map(|n| (*n).to_owned()).collect());
        all.push(names.iter().map(|n| "-".repeat(n.chars().count())).collect());
    }
    all.extend(rows.iter().cloned());
    let count = all.iter().map(Vec::len).max().unwrap_or(0);
    let width = |at: usize| all.iter().filter_map(|row| row.get(at)).map(|c| c.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut text = String::new();
    for row in &all {
        for (at, cell) in row.iter().enumerate() {
            text.push_str(cell);
            if at + 1 < row.len() {
                let pad = widths[at] - cell.chars().count() + 4;
                text.push_str(&" ".repeat(pad));
            }
        }
        text.truncate(text.trim_end_matches(' ').len());
        text.push('\n');
    }
    text
}

/// A title, centred over what is `width` wide: `=== Data ===`.
#[must_use]
pub fn title(name: &str, width: usize) -> String {
    let inner = name.chars().count() + 2;
    let side = if width > inner { (width - inner).div_ceil(2) } else { 2 };
    format!("{0} {name} {0}", "=".repeat(side))
}

/// A table of keys and values under a centred title.
#[must_use]
pub fn titled(name: &str, rows: &[(String, String)]) -> String {
    let longest = rows.iter().map(|(k, _)| k.chars().count()).max().unwrap_or(0);
    format!("{}\n{}", title(name, longest + 4 + "Value".len()), key_value(rows))
}

/// Breaks lines at spaces so that none is longer than `width`; each line after the first of a paragraph begins with `indent`,
/// and the first does as well when it is a list item.
#[must_use]
pub fn wrap(text: &str, width: usize, indent: &str) -> String {
    let lines = text.lines().map(|line| {
        let mut out = String::from(indent);
        let mut used = indent.len();
        for (at, word) in line.split(' ').enumerate() {
            let long = word.chars().count();
            if at > 0 && used + 1 + long > width {
                out.push('\n');
                out.push_str(indent);
                used = indent.len();
            } else if at > 0 {
                out.push(' ');
                used += 1;
            }
            out.push_str(word);
            used += long;
        }
        out
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(key: &str, value: &str) -> (String, String) {
        (key.into(), value.into())
    }

    #[test]
    fn columns_are_four_apart_and_not_padded_at_the_end() {
        assert_eq!(
            key_value(&[row("k", "v"), row("longer", "")]),
            "Key       Value\n---       -----\nk         v\nlonger\n"
        );
    }

    // What bao 2.7.2 prints for keys of these lengths.
    #[test]
    fn titles_are_centred_as_in_bao() {
        assert!(titled("Data", &[row("a", "1")]).starts_with("== Data ==\n"));
        assert!(titled("Data", &[row("abcd", "1")]).starts_with("==== Data ====\n"));
        assert!(titled("Metadata", &[row("custom_metadata", "x")]).starts_with("======= Metadata =======\n"));
        assert_eq!(title("Secret Path", "secret/data/foo".len()), "= Secret Path =");
        assert_eq!(title("Secret Path", "secret/data/x".len()), "== Secret Path ==");
    }

    #[test]
    fn lines_break_at_spaces() {
        assert_eq!(wrap("aa bb cc\ndd", 5, ""), "aa bb\ncc\ndd");
        assert_eq!(wrap("* aa bb", 6, "  "), "  * aa\n  bb");
    }
}
