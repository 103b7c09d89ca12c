//! The real world: plays a scenario on processes of this machine.
//!
//! The orchestrator starts this very program once per replica and once for the load, and plays the faults on them:
//! signals for the processes, and `kernel::link` in the load process for the network. Rows come back over pipes.
//!
//! | module | what is in it |
//! | --- | --- |
//! | `rehearsal` | [`play`]: the run from its first process to its last |
//! | `replica`, `generator`, `process` | the children as the orchestrator has them |
//! | [`role`] | the children as they are themselves |
//! | `caller` | the client's end: links, the resilient client, the load |
//! | [`manual`] | servers, load and faults started one by one, in several terminals |
//! | [`calibrate`] | what the simulation has to know of this host, measured |
//! | [`fidelity`] | campaigns of runs in both worlds |
//! | `message` | what both tell each other |
//! | [`diagnostics`] | what a process logs on standard error: `REHEARSAL_LOG` |
//! | `operations` | what the nemesis can do |
//! | `collector`, `live` | the rows of all processes, and what there is to see of them |
//! | `option`, `interrupt` | the options of command lines; requests to end a process |
//! | `host`, `tcp`, `timer`, `clock` | a process's `kernel::world::World`: [`world()`] |
//! | [`facts`], [`doctor`] | what `run.json` says of the machine, and whether it can play at all |
//!
//! It knows nothing of requests, policies or metrics: that is `kernel`, and the same in the simulation. It uses no
//! privilege and the loopback device only. A child never outlives its orchestrator: it is killed on every way out, and
//! by the kernel if there was none. What is started by hand has no orchestrator, and is ended by hand.

#[cfg(not(target_os = "linux"))]
compile_error!("`real` runs and signals Linux processes: build and run it in a Linux container or virtual machine");

pub mod calibrate;
mod caller;
mod clock;
mod collector;
pub mod diagnostics;
pub mod doctor;
pub mod facts;
pub mod fidelity;
mod generator;
mod host;
mod interrupt;
mod live;
pub mod manual;
mod message;
mod operations;
mod option;
mod process;
mod rehearsal;
mod replica;
pub mod role;
mod tcp;
mod timer;

pub use host::{listening_world, world};
pub use live::View;
pub use rehearsal::{Plan, Played, RehearsalError, play};
