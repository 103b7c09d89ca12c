//! `[workload]`: what a request asks for.

use std::time::Duration;

use serde_json::{Value, json};

use super::size::Size;
use crate::{
    settings::{
        kinds_macro::kinds,
        limits,
        problem::{Problem, Problems},
        table::{Settings, TableInfo, TableReader},
        table_macro::{NOT_DRAWN, keys, table},
        toml_writer::{TomlWriter, list},
        value::{Codec, Item, Share, items, wrong_type},
    },
    status::Code,
};

kinds! {
    /// `[workload]`: what the servers compute.
    Workload, WorkloadName by "kind": "a workload kind", default Sobel {
        /// Sobel edge detection on 8-bit grayscale pictures.
        Sobel = "sobel": Images
        /// Depth-first search of a generated graph.
        Dfs = "dfs": GraphSize
        /// A service that fails and hangs on purpose.
        Backend = "backend": Backend
        /// The services and the load of an app, which only the app's own program plays.
        App = "app": AppTimes
    }
}

impl Default for Workload {
    /// Returns Sobel on synthetic images of 256x256.
    fn default() -> Self {
        Self::Sobel(Images::default())
    }
}

impl Workload {
    /// Returns the names of the workloads of this project: all but that of apps.
    pub fn of_this_project() -> impl Iterator<Item = &'static str> {
        let all = <WorkloadName as crate::settings::named::Named>::names().into_iter();
        all.filter(|name| *name != WorkloadName::App.name())
    }
}

/// The computation of the `sobel` workload.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Images {
    /// The pictures of the requests.
    pub pictures: Pictures,
    /// Number of bands of rows in which a reply streams; `None` if it is one message.
    pub tiles: Option<u32>,
}

impl From<Pictures> for Images {
    /// Returns the pictures, with replies of one message.
    fn from(pictures: Pictures) -> Self {
        Self { pictures, tiles: None }
    }
}

/// The pictures of the `sobel` workload.
#[derive(Debug, Clone, PartialEq)]
pub enum Pictures {
    /// Generated images, of a size that is drawn for each request.
    Synthetic(Vec<Size>),
    /// A glob of the user's picture files, one of which is drawn for each request.
    Files(String),
}

impl Default for Pictures {
    fn default() -> Self {
        Self::Synthetic(vec![Size { width: 256, height: 256 }])
    }
}

keys! {
    /// Sizes of the generated images, one of which is drawn for each request; `["256x256"]` without `images`.
    pub(crate) const SIZES = sizes: Option<Sizes> = None, (), &["[\"8x8\"]", "[\"8x8\", \"16x16\", \"64x64\"]", "[\"256x256\"]"];
    /// A glob of picture files instead, one of which is drawn for each request.
    const IMAGES = images: Option<Pattern> = None, (), NOT_DRAWN;
    /// Replies stream in this many bands of rows, each sent when it is done, at most one for each row of an image; without it, a reply
    /// is one message.
    const TILES = tiles: Option<u32> = None, limits::TILES, NOT_DRAWN;
}

impl Settings for Images {
    const TABLE: &'static TableInfo = &TableInfo { keys: &[&SIZES, &IMAGES, &TILES], ..TableInfo::EMPTY };

    fn read(table: &TableReader<'_, '_>) -> Result<Self, Problems> {
        if let (Some(_), Some(span)) = (table.span("sizes"), table.span("images")) {
            return Err(Problem::at(span, "`images` and `sizes` exclude each other")
                .help("keep `sizes` for synthetic images, or `images` for pictures of your own")
                .into());
        }
        let files = IMAGES.read(table)?.map(Pictures::Files);
        let pictures = files.or(SIZES.read(table)?.map(Pictures::Synthetic)).unwrap_or_default();
        Ok(Self { pictures, tiles: TILES.read(table)? })
    }

    fn write_keys(&self, toml: &mut TomlWriter, _: &str) {
        match &self.pictures {
            Pictures::Synthetic(sizes) => SIZES.write(toml, &Some(sizes.clone())),
            Pictures::Files(pattern) => IMAGES.write(toml, &Some(pattern.clone())),
        }
        TILES.write(toml, &self.tiles);
    }
}

/// A list of picture sizes, at least one.
pub(crate) struct Sizes;

impl Codec for Sizes {
    type Target = Vec<Size>;
    type Limits = ();

    fn type_name() -> String {
        "list of sizes".into()
    }

    fn read(item: &Item<'_>, (): &()) -> Result<Vec<Size>, Problem> {
        let items = items(item)?;
        if items.is_empty() {
            return Err(Problem::at(item.span(), "`sizes` is empty; give at least one, such as [\"256x256\"]"));
        }
        if items.len() > limits::SIZES_MAX {
            let message = format!("there are {} sizes; allowed are up to {}", items.len(), limits::SIZES_MAX);
            return Err(Problem::at(item.span(), message));
        }
        // Every text first: a text that is no size is reported before a size that is too large.
        let sizes: Vec<_> = items.iter().map(|item| Ok((item, any_size(item)?))).collect::<Result<_, Problem>>()?;
        let sizes: Vec<_> =
            sizes.into_iter().map(|(item, size)| within_limits(item, size)).collect::<Result<_, _>>()?;
        match sizes.iter().map(|size| size.pixels()).sum::<u64>() {
            pixels if pixels > limits::SIZES_PIXELS_MAX => {
                let most = limits::SIZES_PIXELS_MAX;
                let message = format!("all sizes together are {pixels} pixels; allowed are up to {most}");
                Err(Problem::at(item.span(), message).help("leave some of the largest out"))
            }
            _ => Ok(sizes),
        }
    }

    fn written(value: &Vec<Size>) -> Option<String> {
        Some(list(value))
    }

    fn schema((): &()) -> Value {
        json!({ "type": "array", "items": { "type": "string", "pattern": "^[0-9]+x[0-9]+$" }, "minItems": 1, "maxItems": limits::SIZES_MAX })
    }

    fn limits_text((): &()) -> Option<String> {
        let min = limits::SIDE.start();
        let max = limits::SIDE.end();
        Some(format!("sides of {min} to {max} pixels, {} pixels a picture", limits::PIXELS_MAX))
    }
}

fn any_size(item: &Item<'_>) -> Result<Size, Problem> {
    match item.get_ref().as_str() {
        Some(text) => text.parse().map_err(|error| Problem::at(item.span(), format!("{error}"))),
        None => wrong_type(item, "a picture size, such as \"256x256\""),
    }
}

fn within_limits(item: &Item<'_>, size: Size) -> Result<Size, Problem> {
    if !limits::SIDE.contains(&size.width) || !limits::SIDE.contains(&size.height) {
        let min = limits::SIDE.start();
        let max = limits::SIDE.end();
        let message = format!("a side of {size} is out of range; allowed is {min} to {max} pixels");
        return Err(Problem::at(item.span(), message));
    }
    if size.pixels() > limits::PIXELS_MAX {
        let message =
            format!("{size} is {} pixels; allowed is up to {} (4096x4096)", size.pixels(), limits::PIXELS_MAX);
        return Err(Problem::at(item.span(), message));
    }
    Ok(size)
}

/// The most `**` in a glob.
const EVERY_FOLDER_MAX: usize = 2;

/// A glob that is not empty.
struct Pattern;

impl Codec for Pattern {
    type Target = String;
    type Limits = ();

    fn type_name() -> String {
        "glob".into()
    }

    fn read(item: &Item<'_>, (): &()) -> Result<String, Problem> {
        let pattern = String::read(item, &())?;
        if pattern.is_empty() {
            return Err(Problem::at(item.span(), "`images` is empty; name the files, such as \"photos/*.png\""));
        }
        // Each of them goes through all folders below those that the one before it finds.
        if pattern.matches("**").count() > EVERY_FOLDER_MAX {
            let message = format!("`images` has `**` more than {EVERY_FOLDER_MAX} times");
            return Err(Problem::at(item.span(), message).help("name the folders"));
        }
        Ok(pattern)
    }

    fn written(value: &String) -> Option<String> {
        String::written(value)
    }

    fn schema((): &()) -> Value {
        json!({ "type": "string", "minLength": 1 })
    }
}

table! {
    /// The graph of the `dfs` workload, which is the same for every request of a run. By default a search takes about a
    /// millisecond.
    #[derive(Copy, Eq)]
    GraphSize {
        /// Number of nodes.
        nodes: u32 = 20_000, limits::NODES, NOT_DRAWN;
        /// Number of edges; at least one less than the nodes, as the graph is connected.
        edges: u32 = 60_000, limits::EDGES, NOT_DRAWN;
    }
    settle = connected;
}

pub(crate) fn connected(graph: GraphSize, table: &TableReader<'_, '_>) -> Result<GraphSize, Problem> {
    let GraphSize { nodes, edges } = graph;
    if edges >= nodes - 1 {
        return Ok(graph);
    }
    // Whichever was written; the defaults agree.
    let span = table.span("edges").or(table.span("nodes"));
    let message = format!("{edges} edges cannot connect {nodes} nodes; at least {} are needed", nodes - 1);
    Err(Problem::new(span, message).help("raise `edges`, or lower `nodes`"))
}

pub(crate) const SHARE_OF_ATTEMPTS: &str = "it is a share of the attempts: for 60 % write 0.6";

table! {
    /// The behavior of the `backend` workload, which each attempt draws for itself. By default four of ten calls succeed.
    #[derive(Copy)]
    Backend {
        /// Share of the attempts that fail.
        failure_rate: f64 as Share = 0.6, SHARE_OF_ATTEMPTS, NOT_DRAWN;
        /// Status of those.
        failure_status: Code = Code::Unavailable, (), NOT_DRAWN;
        /// Share of the attempts that are never answered; with the failures at most 1.
        hang_rate: f64 as Share = 0.0, SHARE_OF_ATTEMPTS, NOT_DRAWN;
        /// The least time that an attempt holds its worker.
        delay: Duration = Duration::from_millis(20), limits::WAIT, NOT_DRAWN;
    }
    settle = fails_or_hangs;
}

pub(crate) fn fails_or_hangs(backend: Backend, table: &TableReader<'_, '_>) -> Result<Backend, Problem> {
    let Backend { failure_rate, hang_rate, .. } = backend;
    if failure_rate + hang_rate <= 1.0 {
        return Ok(backend);
    }
    let span = table.span("hang_rate").or(table.span("failure_rate"));
    let message = format!("`failure_rate` of {failure_rate} and `hang_rate` of {hang_rate} are over 1 together");
    Err(Problem::new(span, message).help("an attempt fails or hangs, not both; lower one of the two"))
}

table! {
    /// The computing times of an app in the simulation. By default each is measured, and is in the calibration.
    #[derive(Copy, Eq)]
    AppTimes {
        /// The time of one unit of a computation of `Host::compute` that the calibration does not have. Without it, such a computation
        /// ends the run.
        compute_time: Option<Duration> = None, limits::WAIT, NOT_DRAWN;
    }
}
