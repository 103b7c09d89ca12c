//! The values of a plot under the pointer: the data in the page, and a script of its own that shows them.

use maud::{Markup, PreEscaped, html};
use serde_json::{Map, Value, json};

use crate::{
    draw::{Room, panel_edges},
    figure::{Axis, Figure, Layer, LayerShape, Panel, Scale, Ticks},
};

/// The greatest number of points of a layer that a page has twice: drawn and as values.
const POINTS_MAX: usize = 8_000;

/// Shows the mark under the pointer, or the bar, or else the last value of each line at or before it. Text is set as text, so
/// nothing in it becomes markup.
pub(super) const SCRIPT: &str = r#"
document.querySelectorAll("figure").forEach(function (figure) {
  var source = figure.querySelector("script"), box = figure.querySelector("output");
  if (!source) return;
  var data = JSON.parse(source.textContent), reach = 16;
  function number(v) { return String(Number(v.toPrecision(4))); }
  function shown(v, axis) {
    if (v === null || v === undefined) return "none";
    if (axis.names) return axis.names[Math.max(0, Math.min(axis.names.length - 1, Math.round(v)))];
    if (axis.places) return axis.places.reduce(function (a, b) { return Math.abs(b[0] - v) < Math.abs(a[0] - v) ? b : a; })[1];
    if (axis.unit === "percent") return number(v * 100) + " %";
    if (axis.unit === "seconds") return number(v) + " s";
    if (axis.unit !== "duration") return number(v);
    var size = Math.abs(v);
    return size >= 1 || size === 0 ? number(v) + " s" : size >= 1e-3 ? number(v * 1e3) + " ms" : number(v * 1e6) + " µs";
  }
  function share(v, axis) {
    var s = axis.log ? Math.log(v / axis.from) / Math.log(axis.to / axis.from) : (v - axis.from) / (axis.to - axis.from);
    return Math.max(0, Math.min(1, s));
  }
  function value(s, axis) {
    return axis.log ? axis.from * Math.pow(axis.to / axis.from, s) : axis.from + (axis.to - axis.from) * s;
  }
  function at(points, x) {
    var low = 0, high = points.length;
    while (low < high) { var middle = (low + high) >> 1; if (points[middle][0] <= x) low = middle + 1; else high = middle; }
    return low ? points[low - 1][1] : null;
  }
  function mark(panel, place, edges, sides, px, py) {
    var found = null, best = reach * reach;
    panel.marks.forEach(function (layer) {
      layer.points.forEach(function (point) {
        var down = panel.y.names ? share(point[1], panel.y) : 1 - share(point[1], panel.y);
        var dx = place.width * (sides[0] + share(point[0], data.x) * (sides[1] - sides[0])) - px;
        var dy = place.height * (edges[0] + down * (edges[1] - edges[0])) - py;
        if (dx * dx + dy * dy <= best) { best = dx * dx + dy * dy; found = [layer.name, point]; }
      });
    });
    if (!found) return null;
    var point = found[1], range = point.length > 2 ? " (" + shown(point[2], panel.y) + " to " + shown(point[3], panel.y) + ")" : "";
    return [shown(point[0], data.x), found[0], shown(point[1], panel.y) + range];
  }
  function bar(panel, edges, x, down) {
    var y = value((down - edges[0]) / (edges[1] - edges[0]), panel.y), found = null;
    panel.bars.forEach(function (layer) {
      layer.bars.forEach(function (bar) {
        if (x >= bar[0] && x <= bar[1] && Math.abs(y - bar[2]) <= bar[3] / 2) found = [layer.name, bar];
      });
    });
    return found && [shown(found[1][0], data.x) + " to " + shown(found[1][1], data.x), found[0] + ": " + shown(y, panel.y)];
  }
  function show(event) {
    var svg = event.target.closest("svg");
    box.hidden = true;
    if (!svg) return;
    var place = svg.getBoundingClientRect(), room = svg.parentNode.className === "narrow" ? "narrow" : "wide";
    var sides = data[room], px = event.clientX - place.left, py = event.clientY - place.top;
    var along = (px / place.width - sides[0]) / (sides[1] - sides[0]), x = value(along, data.x), lines = null;
    data.panels.forEach(function (panel) {
      var edges = panel[room], down = py / place.height, edge = reach / place.height;
      if (down < edges[0] - edge || down > edges[1] + edge) return;
      lines = lines || mark(panel, place, edges, sides, px, py);
      if (!lines && along >= 0 && along <= 1) lines = bar(panel, edges, x, down);
    });
    if (!lines && data.lines.length && along >= 0 && along <= 1) {
      lines = [shown(x, data.x)].concat(data.lines.map(function (line) {
        return line.name + ": " + shown(at(line.points, x), line.y);
      }));
    }
    if (!lines) return;
    box.textContent = lines.join("\n");
    box.hidden = false;
    var outer = figure.getBoundingClientRect(), left = event.clientX - outer.left;
    box.style.left = (left > outer.width / 2 ? Math.max(0, left - box.offsetWidth - 14) : left + 14) + "px";
    box.style.top = (event.clientY - outer.top + 14) + "px";
  }
  figure.addEventListener("pointermove", show);
  figure.addEventListener("pointerdown", show);
  figure.addEventListener("pointerleave", function () { box.hidden = true; });
});
"#;

/// Returns the values of a figure: its named lines, and its marks and bars. Returns nothing if there are none. A layer with too
/// many points has no values.
pub(super) fn values(figure: &Figure) -> Markup {
    let lines: Vec<Value> = figure.panels.iter().flat_map(lines).collect();
    let edges = [Room::Wide, Room::Narrow].map(|room| panel_edges(figure, room));
    let mut panels: Vec<Value> = Vec::new();
    for (index, panel) in figure.panels.iter().enumerate() {
        let marks = marks(figure, panel);
        let bars: Vec<Value> = panel.layers.iter().filter_map(bars).collect();
        if !marks.is_empty() || !bars.is_empty() {
            let [wide, narrow] = [&edges[0], &edges[1]].map(|edges| edges[index]);
            panels.push(json!({ "wide": wide, "narrow": narrow, "y": axis(&panel.y), "marks": marks, "bars": bars }));
        }
    }
    if lines.is_empty() && panels.is_empty() {
        return html! {};
    }
    let data = json!({
        "wide": Room::Wide.data_edges(), "narrow": Room::Narrow.data_edges(), "x": axis(&figure.x), "lines": lines,
        "panels": panels,
    });
    // Without `<` no text in the data can end the element.
    let data = data.to_string().replace('<', "\\u003c");
    html! {
        output hidden {}
        script type="application/json" { (PreEscaped(data)) }
    }
}

/// Returns the named lines of a panel.
fn lines(panel: &Panel) -> Vec<Value> {
    let mut lines = Vec::new();
    for layer in panel.layers.iter().filter(|layer| !layer.name.is_empty()) {
        let LayerShape::Line { points, .. } = &layer.shape else { continue };
        if points.len() > POINTS_MAX {
            continue;
        }
        let title = if panel.title.is_empty() { String::new() } else { format!("{}, ", panel.title) };
        lines.push(json!({
            "name": format!("{title}{}", layer.name), "y": axis(&panel.y), "points": points_of_line(points),
        }));
    }
    lines
}

/// Returns the marks of a panel. A mark on a whisker has both of its ends, too.
fn marks(figure: &Figure, panel: &Panel) -> Vec<Value> {
    let whiskers: Vec<[(f64, f64); 2]> = panel.layers.iter().flat_map(whiskers).collect();
    let mut layers = Vec::new();
    for (index, layer) in panel.layers.iter().enumerate() {
        let LayerShape::Points { points, .. } = &layer.shape else { continue };
        if points.is_empty() || points.len() > POINTS_MAX {
            continue;
        }
        let point = |(x, y): &(f64, f64)| {
            let around = whiskers.iter().find(|[low, high]| low.0 == *x && low.1 <= *y && *y <= high.1);
            let ends = around.map_or(Vec::new(), |[low, high]| vec![rounded(low.1), rounded(high.1)]);
            [vec![rounded(*x), rounded(*y)], ends].concat()
        };
        let drawn = points.iter().filter(|(x, y)| x.is_finite() && y.is_finite());
        layers.push(json!({ "name": name_of(figure, panel, index), "points": drawn.map(point).collect::<Vec<_>>() }));
    }
    layers
}

/// Returns the vertical strokes of a layer, each from its lower to its upper end.
fn whiskers(layer: &Layer) -> Vec<[(f64, f64); 2]> {
    let LayerShape::Line { points, .. } = &layer.shape else { return Vec::new() };
    // Each stroke is separated from the next one by a point without a place.
    let strokes = points.split(|(_, y)| y.is_nan());
    strokes
        .filter_map(|stroke| <[(f64, f64); 2]>::try_from(stroke).ok())
        .filter(|[low, high]| low.0 == high.0)
        .collect()
}

/// Returns the name of a layer of marks. Where the first panel has the legend for all, it is the name there; a layer without
/// any is called like its panel.
fn name_of(figure: &Figure, panel: &Panel, index: usize) -> String {
    let layer = &panel.layers[index];
    let first = figure.panels.first().and_then(|first| first.layers.get(index));
    let legend = first.filter(|first| first.colour == layer.colour && matches!(first.shape, LayerShape::Points { .. }));
    let name =
        legend.map_or(layer.name.as_str(), |legend| if layer.name.is_empty() { &legend.name } else { &layer.name });
    match (panel.title.is_empty(), name.is_empty()) {
        (false, false) => format!("{}, {name}", panel.title),
        (false, true) => panel.title.clone(),
        (true, _) => name.to_owned(),
    }
}

/// Returns the bars of a layer; `None` for a layer of another shape, without bars, or with too many.
fn bars(layer: &Layer) -> Option<Value> {
    let LayerShape::Bars(bars) = &layer.shape else { return None };
    if bars.is_empty() || bars.len() > POINTS_MAX {
        return None;
    }
    let places: Vec<_> = bars.iter().map(|bar| [bar.from, bar.to, bar.row, bar.height].map(rounded)).collect();
    Some(json!({ "name": layer.name, "bars": places }))
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

/// Returns what the script needs to find a place on the axis, and to show a value of it.
fn axis(axis: &Axis) -> Value {
    let unit = match axis.ticks {
        Ticks::Percent => "percent",
        Ticks::Duration => "duration",
        Ticks::Seconds => "seconds",
        Ticks::Number | Ticks::Names(_) | Ticks::Places(_) => "number",
    };
    let mut fields = Map::new();
    fields.insert("from".to_owned(), axis.range.0.into());
    fields.insert("to".to_owned(), axis.range.1.into());
    fields.insert("unit".to_owned(), unit.into());
    if axis.scale == Scale::Logarithmic {
        fields.insert("log".to_owned(), true.into());
    }
    match &axis.ticks {
        Ticks::Names(names) => fields.insert("names".to_owned(), json!(names)),
        Ticks::Places(places) => fields.insert("places".to_owned(), json!(places)),
        _ => None,
    };
    fields.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::{Bar, Colour, Mark};

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

    fn with_layers(ticks: Ticks, layers: Vec<Layer>) -> Figure {
        let mut figure = figure("", Vec::new());
        figure.panels[0] = Panel {
            title: "p95".into(),
            y: Axis { label: String::new(), scale: Scale::Linear, range: (0.0, 4.0), ticks },
            weight: 1.0,
            layers,
        };
        figure
    }

    #[test]
    fn a_mark_has_its_place_its_name_and_the_ends_of_its_whisker() {
        let whisker = vec![(1.0, 2.0), (1.0, 4.0), (1.0, f64::NAN), (2.0, 0.0), (2.0, 1.0), (2.0, f64::NAN)];
        let layers = vec![
            Layer::line("", Colour::Blue, whisker),
            Layer::points("once", Colour::Blue, Mark::Disc, vec![(1.0, 3.0), (5.0, 3.0)]),
        ];
        let mut figure = with_layers(Ticks::Number, layers);
        // The legend of the first panel is that of all panels.
        let mut second = figure.panels[0].clone();
        second.title = "p99".into();
        second.layers[1].name.clear();
        figure.panels.push(second);
        let text = values(&figure).into_string();
        assert!(text.contains(r#""marks":[{"name":"p95, once","points":[[1.0,3.0,2.0,4.0],[5.0,3.0]]}]"#), "{text}");
        assert!(text.contains(r#""name":"p99, once""#), "{text}");
        let edges = panel_edges(&figure, Room::Wide);
        assert!(edges[0].1 < edges[1].0 && text.contains(&format!(r#""wide":{}"#, json!(edges[1]))), "{text}");
    }

    #[test]
    fn a_bar_has_its_name_and_its_lane() {
        let bar = Bar { from: 1.0, to: 2.5, row: 0.2, height: 0.3 };
        let names = Ticks::Names(vec!["server-0".into()]);
        let text = values(&with_layers(names, vec![Layer::bars("down", Colour::Ink, vec![bar])])).into_string();
        assert!(text.contains(r#""bars":[{"bars":[[1.0,2.5,0.2,0.3]],"name":"down"}]"#), "{text}");
        assert!(text.contains(r#""names":["server-0"]"#), "{text}");
    }

    #[test]
    fn too_many_marks_have_no_values() {
        let points = vec![(1.0, 1.0); POINTS_MAX + 1];
        let figure = with_layers(Ticks::Number, vec![Layer::points("a", Colour::Blue, Mark::Dot, points)]);
        assert_eq!(values(&figure).into_string(), "");
    }

    #[test]
    fn a_line_that_is_too_long_has_no_values() {
        let points = (0..=POINTS_MAX).map(|x| (x as f64, 1.0)).collect();
        assert_eq!(values(&figure("a", points)).into_string(), "");
    }
}
