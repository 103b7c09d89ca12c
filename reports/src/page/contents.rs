//! The table of contents of a page.

use maud::html;

/// The least number of entries that are worth a table of contents.
const ENTRIES_MIN: usize = 3;

/// The start of a heading. Templates escape all text, so nothing else on a page begins like this.
const HEADING: &str = "<h2>";

/// The start of a figure, up to its name.
const FIGURE: &str = "<figure id=\"";

/// Returns `body` with a name for each heading and, before the first heading or figure, links to all of them.
pub(super) fn with_contents(body: &str) -> String {
    let first = body.find(HEADING).into_iter().chain(body.find(FIGURE)).min().unwrap_or(body.len());
    let (head, mut rest) = body.split_at(first);
    let mut named = String::with_capacity(rest.len());
    let mut entries: Vec<(String, &str)> = Vec::new();
    while let Some(at) = rest.find(HEADING).into_iter().chain(rest.find(FIGURE)).min() {
        named.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix(HEADING) {
            let id = format!("section-{}", entries.len() + 1);
            named.push_str(&format!("<h2 id=\"{id}\">"));
            entries.push((id, after.split('<').next().unwrap_or_default()));
            rest = after;
        } else {
            let mut attributes = rest.split('"');
            let id = attributes.nth(1).unwrap_or_default().to_owned();
            entries.push((id, attributes.nth(1).unwrap_or_default()));
            named.push_str(FIGURE);
            rest = &rest[FIGURE.len()..];
        }
    }
    named.push_str(rest);
    let contents = if entries.len() < ENTRIES_MIN { String::new() } else { links(&entries) };
    format!("{head}{contents}{named}")
}

/// Returns the links. Their texts are parts of a page, so they are escaped already.
fn links(entries: &[(String, &str)]) -> String {
    let links = html! {
        nav aria-label="Contents" {
            @for (id, text) in entries { a href={ "#" (maud::PreEscaped(id)) } { (maud::PreEscaped(text)) } }
        }
    };
    links.into_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_and_figures_are_linked_in_order_before_the_first_of_them() {
        let page = with_contents(
            "<p>a</p><figure id=\"cdf\" aria-label=\"Tail &amp; all\"></figure><h2>One</h2><p>b</p><h2>Two</h2>",
        );
        let links = "<a href=\"#cdf\">Tail &amp; all</a><a href=\"#section-2\">One</a><a href=\"#section-3\">Two</a>";
        assert!(
            page.starts_with(&format!("<p>a</p><nav aria-label=\"Contents\">{links}</nav><figure id=\"cdf\"")),
            "{page}"
        );
        assert!(page.ends_with("<h2 id=\"section-2\">One</h2><p>b</p><h2 id=\"section-3\">Two</h2>"), "{page}");
    }

    #[test]
    fn a_short_page_needs_no_contents() {
        assert_eq!(with_contents("<p>a</p>"), "<p>a</p>");
        assert_eq!(with_contents("<h2>One</h2>"), "<h2 id=\"section-1\">One</h2>");
    }
}
