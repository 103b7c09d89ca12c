//! `[workload]`: what each kind takes.

use toml::Spanned;

use super::{failure_status, limits};
use crate::scenario::{
    error::Problem,
    model::{Backend, GraphSize, Pictures, Size, Workload},
    names::{Named, WorkloadName},
    nearest::backticked,
    raw,
    setting::{Choice, Setting, read_or, within_or},
    source::Span,
};

pub(super) fn workload(raw: &raw::Workload) -> Result<Workload, Problem> {
    let Choice(kind) = read_or(raw.kind.as_ref(), Choice(WorkloadName::from(&Workload::default())))?;
    refuse_strangers(raw, kind)?;
    Ok(match kind {
        WorkloadName::Sobel => sobel(raw)?,
        WorkloadName::Dfs => Workload::Dfs(graph_size(raw)?),
        WorkloadName::Backend => Workload::Backend(backend(raw)?),
    })
}

/// The keys that a workload of this kind takes besides `kind`.
fn parameters(kind: WorkloadName) -> &'static [&'static str] {
    match kind {
        WorkloadName::Sobel => &["sizes", "images"],
        WorkloadName::Dfs => &["nodes", "edges"],
        WorkloadName::Backend => &["failure_rate", "failure_status", "hang_rate", "delay"],
    }
}

fn refuse_strangers(raw: &raw::Workload, kind: WorkloadName) -> Result<(), Problem> {
    let given: [(&str, Option<Span>); 8] = [
        ("sizes", raw.sizes.as_ref().map(Setting::span)),
        ("images", raw.images.as_ref().map(Setting::span)),
        ("nodes", raw.nodes.as_ref().map(Setting::span)),
        ("edges", raw.edges.as_ref().map(Setting::span)),
        ("failure_rate", raw.failure_rate.as_ref().map(Setting::span)),
        ("failure_status", raw.failure_status.as_ref().map(Setting::span)),
        ("hang_rate", raw.hang_rate.as_ref().map(Setting::span)),
        ("delay", raw.delay.as_ref().map(Setting::span)),
    ];
    let taken = parameters(kind);
    for (parameter, span) in given {
        if let Some(span) = span.filter(|_| !taken.contains(&parameter)) {
            let mut kinds = WorkloadName::NAMES.iter().filter(|(kind, _)| parameters(*kind).contains(&parameter));
            let (_, owner) = kinds.next().expect("every key is of one kind");
            let message = format!("`{parameter}` is of the workload `{owner}`, and this is `{}`", kind.to_name());
            let help = format!("write kind = \"{owner}\", or keep to {}", backticked(taken));
            return Err(Problem::at(span, message).help(help));
        }
    }
    Ok(())
}

fn sobel(raw: &raw::Workload) -> Result<Workload, Problem> {
    match (&raw.sizes, &raw.images) {
        (None, None) => Ok(Workload::default()),
        (Some(sizes), None) => Ok(Workload::Sobel(Pictures::Synthetic(picture_sizes(sizes)?))),
        (None, Some(images)) => Ok(Workload::Sobel(Pictures::Files(pattern(images)?))),
        (Some(_), Some(images)) => Err(Problem::at(images.span(), "`images` and `sizes` exclude each other")
            .help("keep `sizes` for synthetic images, or `images` for pictures of your own")),
    }
}

fn picture_sizes(setting: &Setting<Vec<Spanned<Size>>>) -> Result<Vec<Size>, Problem> {
    let sizes = setting.read()?;
    if sizes.is_empty() {
        return Err(Problem::at(setting.span(), "`sizes` is empty; give at least one, such as [\"256x256\"]"));
    }
    sizes.into_iter().map(picture_size).collect()
}

fn picture_size(size: Spanned<Size>) -> Result<Size, Problem> {
    let (span, size) = (size.span(), size.into_inner());
    if !limits::SIDE.contains(&size.width) || !limits::SIDE.contains(&size.height) {
        let (min, max) = (limits::SIDE.start(), limits::SIDE.end());
        return Err(Problem::at(span, format!("a side of {size} is out of range; allowed is {min} to {max} pixels")));
    }
    if size.pixels() > limits::PIXELS_MAX {
        let message =
            format!("{size} is {} pixels; allowed is up to {} (4096x4096)", size.pixels(), limits::PIXELS_MAX);
        return Err(Problem::at(span, message));
    }
    Ok(size)
}

fn pattern(setting: &Setting<String>) -> Result<String, Problem> {
    let pattern = setting.read()?;
    if pattern.is_empty() {
        return Err(Problem::at(setting.span(), "`images` is empty; name the files, such as \"photos/*.png\""));
    }
    Ok(pattern)
}

fn graph_size(raw: &raw::Workload) -> Result<GraphSize, Problem> {
    let default = GraphSize::default();
    let nodes = within_or(raw.nodes.as_ref(), &limits::NODES, default.nodes as usize)?;
    let edges = within_or(raw.edges.as_ref(), &limits::EDGES, default.edges as usize)?;
    if edges < nodes - 1 {
        // Whichever was written; the defaults agree.
        let span = raw.edges.as_ref().or(raw.nodes.as_ref()).map(Setting::span);
        let message = format!("{edges} edges cannot connect {nodes} nodes; at least {} are needed", nodes - 1);
        return Err(Problem::new(span, message).help("raise `edges`, or lower `nodes`"));
    }
    let small = |count: usize| u32::try_from(count).expect("the limits are below 2^32");
    Ok(GraphSize { nodes: small(nodes), edges: small(edges) })
}

fn backend(raw: &raw::Workload) -> Result<Backend, Problem> {
    let default = Backend::default();
    let share = |setting: Option<&Setting<f64>>, default| {
        within_or(setting, &limits::SHARE, default)
            .map_err(|problem| problem.help("it is a share of the attempts: for 60 % write 0.6"))
    };
    let failure_rate = share(raw.failure_rate.as_ref(), default.failure_rate)?;
    let hang_rate = share(raw.hang_rate.as_ref(), default.hang_rate)?;
    if failure_rate + hang_rate > 1.0 {
        let span = raw.hang_rate.as_ref().or(raw.failure_rate.as_ref()).map(Setting::span);
        let message = format!("`failure_rate` of {failure_rate} and `hang_rate` of {hang_rate} are over 1 together");
        return Err(Problem::new(span, message).help("an attempt fails or hangs, not both; lower one of the two"));
    }
    Ok(Backend {
        failure_rate,
        failure_status: failure_status(raw.failure_status.as_ref())?,
        hang_rate,
        delay: within_or(raw.delay.as_ref(), &limits::WAIT, default.delay)?,
    })
}
