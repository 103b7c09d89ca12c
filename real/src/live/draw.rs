//! Draws the board on a terminal's cells, as a pure function of the board and the time.
//!
//! Words repeat the meaning of colours, as a terminal can have none.

use kernel::measure::quantity;
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Style, Stylize},
    text::{Line, Span},
    widgets::{LineGauge, Paragraph},
};

use super::{
    board::Board,
    chart::Charts,
    news::{News, Severity},
    servers::{Breaker, Condition, Server},
    so_far::so_far,
    style::HEADING,
    tally::{Recent, RequestTally, SECOND_US, shown},
};

/// Number of replicas with a row of their own; the others are counted in one row.
const SERVER_ROWS_MAX: usize = 8;

/// Number of rows of the figures: a heading, two rows of figures, the calls in flight, the verdict so far.
const FIGURE_ROWS: u16 = 5;

/// Number of rows of the charts with the marks of the faults, if there is room.
const CHART_ROWS: u16 = 6;

/// Least number of rows of the charts; with fewer they are left out.
const CHART_ROWS_MIN: u16 = 3;

/// Number of rows that the news get before empty rows between the parts and before charts of full height.
const NEWS_ROWS_MIN: u16 = 3;

/// Draws the whole dashboard.
pub(super) fn draw(frame: &mut Frame<'_>, board: &Board, now_us: u64) {
    let servers = 1 + board.servers.len().min(SERVER_ROWS_MAX + 1) as u16;
    let [head, servers, figures, charts, news, foot] = parts(frame.area(), servers);
    let (recent, answers, seconds) = board.recent.at(now_us);
    progress(frame, head, board, now_us);
    frame.render_widget(Paragraph::new(server_lines(board, &answers, seconds)), servers);
    frame.render_widget(Paragraph::new(figure_lines(board, &recent, now_us, seconds)), figures);
    frame.render_widget(Charts { board, now_us }, charts);
    frame.render_widget(Paragraph::new(news_lines(board, news)), news);
    frame.render_widget(Paragraph::new(hint(board)), foot);
}

/// The areas of progress, servers, figures, charts, news and the hint, from top to bottom. If there is no room for all,
/// empty rows are left out first, then rows of the charts, then the charts.
fn parts(area: Rect, servers: u16) -> [Rect; 6] {
    let left = area.height.saturating_sub(2 + servers + FIGURE_ROWS + 1);
    let gap = u16::from(left >= CHART_ROWS + 4 + NEWS_ROWS_MIN);
    let charts = if gap > 0 { CHART_ROWS } else { left.saturating_sub(NEWS_ROWS_MIN).min(CHART_ROWS) };
    let charts = if charts < CHART_ROWS_MIN { 0 } else { charts };
    let mut rows = Rows { area, top: area.y };
    let [head, servers, figures, charts] = [2, servers, FIGURE_ROWS, charts].map(|height| rows.take(height, gap));
    let news = rows.take(left.saturating_sub(charts.height + 4 * gap), 0);
    [head, servers, figures, charts, news, rows.take(1, 0)]
}

/// The rows of an area that are still free.
struct Rows {
    area: Rect,
    top: u16,
}

impl Rows {
    /// Takes `height` rows from the top and skips `gap` rows after them; fewer if the area ends.
    fn take(&mut self, height: u16, gap: u16) -> Rect {
        let height = height.min(self.area.bottom().saturating_sub(self.top));
        let part = Rect { y: self.top, height, ..self.area };
        self.top = (self.top + height + gap).min(self.area.bottom());
        part
    }
}

fn progress(frame: &mut Frame<'_>, area: Rect, board: &Board, now_us: u64) {
    let [title, bar] = Layout::vertical([Constraint::Length(1), Constraint::Length(1)]).areas(area);
    let name = Line::from(vec![board.name.as_str().bold(), format!("  seed {}", board.seed).into()]);
    let time = Line::from(time_left(board.duration_us, now_us)).right_aligned();
    frame.render_widget(Paragraph::new(name), title);
    // On a narrow terminal the time covers the name, which the user knows.
    let width = (time.width() as u16).min(title.width);
    frame.render_widget(Paragraph::new(time), Rect { x: title.right() - width, width, ..title });
    let done = (now_us as f64 / board.duration_us.max(1) as f64).clamp(0.0, 1.0);
    let gauge = LineGauge::default()
        .filled_symbol("━")
        .unfilled_symbol("─")
        .ratio(done)
        .label(format!("{:3.0} %", done * 100.0));
    frame.render_widget(gauge.filled_style(Color::Green).unfilled_style(HEADING), bar);
}

fn time_left(duration_us: u64, now_us: u64) -> String {
    let elapsed = format!("{:.1} of {} s", now_us as f64 / SECOND_US as f64, duration_us as f64 / SECOND_US as f64);
    match duration_us.checked_sub(now_us) {
        Some(left) => format!("{elapsed}, {:.1} s left", left as f64 / SECOND_US as f64),
        None => format!("{elapsed}, waiting for the last calls"),
    }
}

fn server_lines<'a>(board: &'a Board, answers: &[u64], seconds: f64) -> Vec<Line<'a>> {
    let heading =
        format!("{:<12}{:<11}{:<14}{:>9}  {:>8}  {}", "server", "state", "to the client", "answers", "pid", "faults");
    let mut lines = vec![Line::styled(heading, HEADING)];
    let servers = board.servers.iter().zip(answers).take(SERVER_ROWS_MAX);
    lines.extend(servers.map(|(server, answers)| server_line(server, per_second(*answers, seconds))));
    if let more @ 1.. = board.servers.len().saturating_sub(SERVER_ROWS_MAX) {
        lines.push(Line::styled(format!("and {more} more"), HEADING));
    }
    lines
}

fn server_line(server: &Server, rate: String) -> Line<'_> {
    let condition = server.condition();
    let to_client = server.to_client();
    let pid = server.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
    Line::from(vec![
        Span::raw(format!("{:<12}", server.name)),
        Span::styled(format!("{:<11}", condition.name()), style_of(condition)),
        Span::raw(format!("{to_client:<14}{rate:>9}  {pid:>8}  ")),
        Span::styled(server.faults(), Color::Red),
    ])
}

fn style_of(condition: Condition) -> Style {
    match condition {
        Condition::Healthy => Color::Green.into(),
        Condition::Unhealthy | Condition::Starting => Color::Yellow.into(),
        Condition::Frozen => Style::new().blue().bold(),
        Condition::Crashed => Style::new().red().bold(),
    }
}

/// A rate as text; a dash at the start of the run.
fn per_second(count: u64, seconds: f64) -> String {
    if seconds > 0.0 { quantity::rate(count as f64 / seconds) } else { "-".to_owned() }
}

fn figure_lines<'a>(board: &Board, recent: &RequestTally, now_us: u64, seconds: f64) -> Vec<Line<'a>> {
    let heading = ["answers", "success", "p50", "p95", "p99", "max"].map(|name| format!("{name:>9}")).concat();
    let recent_name = format!("last {} s", Recent::SECONDS);
    vec![
        Line::styled(format!("{:<12}{heading}{:>9}", "requests", "retries"), HEADING),
        Line::raw(figures(&recent_name, recent, seconds)),
        Line::raw(
            figures("whole run", &board.overall, now_us as f64 / SECOND_US as f64) + &format!("{:>9}", board.retries),
        ),
        in_flight(board, now_us),
        Line::from(vec![Span::styled(format!("{:<12}", "so far"), HEADING), Span::raw(so_far(board, now_us))]),
    ]
}

fn figures(name: &str, tally: &RequestTally, seconds: f64) -> String {
    let latencies = [500, 950, 990, 1000].map(|per_mille| tally.latency(per_mille));
    let figures = [per_second(tally.ended, seconds), tally.success()].into_iter().chain(latencies);
    format!("{name:<12}{}", figures.map(|figure| format!("{figure:>9}")).collect::<String>())
}

/// The calls in flight and the age of the oldest, and the breaker of the service unless it is closed.
fn in_flight<'a>(board: &Board, now_us: u64) -> Line<'a> {
    let age = board.in_flight.oldest_us(now_us).map(|us| format!(", the oldest for {}", shown(Some(us))));
    let breaker = match board.breaker {
        Breaker::Closed => "",
        Breaker::Open => "; the breaker is open",
        Breaker::HalfOpen => "; the breaker is half-open",
    };
    let count = board.in_flight.count();
    let calls = if count == 1 { "1 call".to_owned() } else { format!("{count} calls") };
    Line::from(vec![
        Span::styled(format!("{:<12}", "in flight"), HEADING),
        Span::raw(format!("{calls}{}", age.unwrap_or_default())),
        Span::styled(breaker, Color::Red),
    ])
}

/// The latest news that have room, the latest at the bottom.
fn news_lines(board: &Board, area: Rect) -> Vec<Line<'_>> {
    let skipped = board.news.len().saturating_sub(usize::from(area.height));
    board.news.iter().skip(skipped).map(news_line).collect()
}

fn news_line(news: &News) -> Line<'_> {
    let at = format!("{:9.3} s  ", news.at_us as f64 / SECOND_US as f64);
    Line::from(vec![Span::styled(at, HEADING), Span::styled(news.line.clone(), color_of(news.severity))])
}

fn color_of(severity: Severity) -> Color {
    match severity {
        Severity::Fault => Color::Red,
        Severity::Recovered => Color::Green,
        Severity::Degraded => Color::Yellow,
        Severity::Action => Color::Cyan,
    }
}

fn hint(board: &Board) -> Line<'static> {
    if board.interrupted {
        Line::styled("ending: the calls under way are cancelled", Color::Yellow)
    } else {
        Line::styled("q or Ctrl-C ends the run and keeps what was recorded", HEADING)
    }
}

#[cfg(test)]
mod tests {
    use ratatui::{Terminal, backend::TestBackend};

    use super::*;
    use crate::live::board::sample::sample_run;

    fn drawn(width: u16, height: u16) -> Terminal<TestBackend> {
        let (board, now_us) = sample_run();
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, &board, now_us)).unwrap();
        terminal
    }

    #[test]
    fn a_crash_and_a_freeze_on_a_usual_terminal() {
        insta::assert_snapshot!(drawn(80, 24).backend());
    }

    #[test]
    fn on_a_narrow_terminal_what_matters_most_is_on_the_left() {
        insta::assert_snapshot!(drawn(44, 24).backend());
    }

    #[test]
    fn on_a_low_terminal_servers_and_figures_are_whole() {
        insta::assert_snapshot!(drawn(80, 16).backend());
    }

    #[test]
    fn a_terminal_of_any_size_can_be_drawn() {
        for (width, height) in [(0, 0), (1, 1), (5, 3), (12, 24), (13, 10), (80, 2), (300, 100)] {
            drawn(width, height);
        }
    }

    #[test]
    fn crashed_servers_and_faults_are_red_and_frozen_servers_blue() {
        let terminal = drawn(80, 24);
        let buffer = terminal.backend().buffer();
        let colors = ["crashed", "frozen", "nemesis: freeze"].map(|text| {
            let rows = (0..24).map(|y| (0..80).map(|x| buffer[(x, y)].symbol()).collect::<Vec<_>>());
            let found = rows.zip(0..).find_map(|(row, y)| Some((row.concat().find(text)?, y)));
            let (x, y) = found.expect("it is shown");
            buffer[(x as u16, y)].fg
        });
        assert_eq!(colors, [Color::Red, Color::Blue, Color::Red]);
    }

    #[test]
    fn after_the_end_of_the_load_the_run_waits_for_its_last_calls() {
        assert_eq!(time_left(90_000_000, 47_300_000), "47.3 of 90 s, 42.7 s left");
        assert_eq!(time_left(90_000_000, 91_000_000), "91.0 of 90 s, waiting for the last calls");
    }
}
