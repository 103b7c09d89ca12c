//! The values of a plot under the pointer: the data in the page, and a script of its own that shows them.

use maud::{Markup, PreEscaped, html};
use serde_json::{Value, json};

use crate::{
    draw::Room,
    figure::{Axis, Figure, LayerShape, Scale, Ticks},
};

/// The greatest number of points of a line that a page has twice: as a line and as values.
const POINTS_MAX: usize = 8_000;

/// Shows the last value of each line at or before the pointer. Text is set as text, so nothing in it becomes markup.
pub(super) const SCRIPT: &str = r#"
document.querySelectorAll("figure").forEach(function (figure) {
  var source = figure.querySelector("script"), box = figure.querySelector("output");
  if (!source) return;
  var data = JSON.parse(source.textContent);
  function number(v) { return String(Number(v.toPrecision(4))); }
  function shown(v, unit) {
    if (v === null || v === undefined) return "none";
    if (unit === "percent") return number(v * 100) + " %";
    if (unit === "seconds") return number(v) + " s";
    if (unit !== "duration") return number(v);
    var size = Math.abs(v);
    return size >= 1 || size === 0 ? number(v) + " s" : size >= 1e-3 ? number(v * 1e3) + " ms" : number(v * 1e6) + " µs";
  }
  function at(points, x) {
    var low = 0, high = points.length;
    while (low < high) { var middle = (low + high) >> 1; if (points[middle][0] <= x) low = middle + 1; else high = middle; }
    return low ? points[low - 1][1] : null;
  }
  figure.addEventListener("pointermove", function (event) {
    var svg = event.target.closest("svg");
    box.hidden = true;
    if (!svg) return;
    var place = svg.getBoundingClientRect(), edges = svg.parentNode.className === "narrow" ? data.narrow : data.wide;
    var share = ((event.clientX - place.left) / place.width - edges[0]) / (edges[1] - edges[0]);
    if (share < 0 || share > 1) return;
    var x = data.log ? data.from * Math.pow(data.to / data.from, share) : data.from + (data.to - data.from) * share;
    box.textContent = [shown(x, data.unit)].concat(data.lines.map(function (line) {
      return line.name + ": " + shown(at(line.points, x), line.unit);
    })).join("\n");
    box.hidden = false;
    var outer = figure.getBoundingClientRect(), left = event.clientX - outer.left;
    box.style.left = (left > outer.width / 2 ? Math.max(0, left - box.offsetWidth - 14) : left + 14) + "px";
    box.style.top = (event.clientY - outer.top + 14) + "px";
  });
  figure.addEventListener("pointerleave", function () { box.hidden = true; });
});
"#;

/// Returns the values of the named lines of a figure; nothing if there are none, or too many.
pub(super) fn values(figure: &Figure) -> Markup {
    let mut lines: Vec<Value> = Vec::new();
    for panel in &figure.panels {
        for layer in panel.layers.iter().filter(|layer| !layer.name.is_empty()) {
            let LayerShape::Line { points, .. } = &layer.shape else { continue };
            if points.len() > POINTS_MAX {
                return html! {};
            }
            let title = if panel.title.is_empty() { String::new() } else { format!("{}, ", panel.title) };
            lines.push(json!({
                "name": format!("{title}{}", layer.name), "unit": unit(&panel.y), "points": points_of_line(points),
            }));
        }
    }
    if lines.is_empty() {
        return html! {};
    }
    let data = json!({
        "wide": Room::Wide.data_edges(), "narrow": Room::Narrow.data_edges(), "from": figure.x.range.0,
        "to": figure.x.range.1, "log": figure.x.scale == Scale::Logarithmic, "unit": unit(&figure.x), "lines": lines,
    });
    // Without `<` no text in the data can end the element.
    let data = data.to_string().replace('<', "\\u003c");
    html! {
        output hidden {}
        script type="application/json" { (PreEscaped(data)) }
    }
}

/// Returns the points with six significant digits, without those that repeat the value before them.
fn points_of_line(points: &[(f64, f64)]) -> Vec<(f64, Option<f64>)> {
    let mut kept: Vec<(f64, Option<f64>)> = Vec::new();
    for (x, y) in points {
        let y = y.is_finite().then(|| rounded(*y));
        if kept.last().is_none_or(|(_, last)| *last != y) {
            kept.push((rounded(*x), y));
        }
    }
    kept
}

fn rounded(value: f64) -> f64 {
    format!("{value:.5e}").parse().unwrap_or(value)
}

fn unit(axis: &Axis) -> &'static str {
    match axis.ticks {
        Ticks::Percent => "percent",
        Ticks::Duration => "duration",
        Ticks::Seconds => "seconds",
        Ticks::Number | Ticks::Names(_) | Ticks::Places(_) => "number",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::{Colour, Layer, Panel};

    fn figure(name: &str, points: Vec<(f64, f64)>) -> Figure {
        Figure {
            name: "plot".into(),
            title: String::new(),
            subject: String::new(),
            caption: String::new(),
            x: Axis::time(10.0),
            panels: vec![Panel {
                title: String::new(),
                y: Axis::from_zero("", Ticks::Number, [1.0].into_iter()),
                weight: 1.0,
                layers: vec![Layer::line(name, Colour::Blue, points)],
            }],
            bands: Vec::new(),
        }
    }

    #[test]
    fn names_cannot_end_the_element_and_gaps_are_null() {
        let text =
            values(&figure("</script>", vec![(0.0, 1.0), (1.0, 1.0), (1.0, f64::NAN), (2.0, 3.0)])).into_string();
        assert!(text.contains(r#""name":"\u003c/script>","points":[[0.0,1.0],[1.0,null],[2.0,3.0]]"#), "{text}");
    }

    #[test]
    fn a_line_that_is_too_long_has_no_values() {
        let points = (0..=POINTS_MAX).map(|x| (x as f64, 1.0)).collect();
        assert_eq!(values(&figure("a", points)).into_string(), "");
    }
}
