//! The replica against a server of grpcio and NumPy that does the same: answers per second of processor time.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use kernel::{client::Channel, workload::sobel::sobel_into};
use tokio::runtime::Runtime;

use crate::{
    calls::{Bare, Rounds, bare, pictures, process, round},
    server::{NAME, Server, cores},
};

const ROUNDS: usize = 5;
const CALLS: usize = 2_000;

/// Prints both servers' throughput and what it cost them.
pub(crate) fn compare() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/python");
    let proto = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernel/proto");
    println!("256x256, {} in flight         answers   of a core in use", 2 * cores());
    let interpreter = match environment(&here.join("requirements.txt")) {
        Ok(interpreter) => interpreter,
        Err(missing) => return println!("  skipped: {missing}\n"),
    };
    let python = measure(Server::python(&interpreter, &here.join("server.py"), &proto));
    let ours = measure(Server::replica());
    for (name, figures) in [("this server", &ours), ("grpcio + NumPy", &python)] {
        println!("  {name:<22} {:8.0}/s  {:10.0}/s", figures.per_second, figures.per_processor_second);
    }
    println!(
        "  ratio                  {:8.1} x  {:10.1} x\n",
        ours.per_second / python.per_second,
        ours.per_processor_second / python.per_processor_second
    );
}

struct Figures {
    per_second: f64,
    per_processor_second: f64,
}

fn measure(mut server: Server) -> Figures {
    Runtime::new().expect("a runtime can be made").block_on(async {
        let world = real::world([(NAME.to_owned(), server.address)].into()).expect("a thread can be started");
        server.ready(&world).await;
        let stream = world.connect(NAME).await.expect("the server listens");
        let stub = bare(Channel::over(world.clone(), stream).await.expect("it speaks HTTP/2"));
        let pictures = pictures("256x256");
        check(&stub, &pictures).await;
        let mut rounds = Rounds::default();
        let before = server.processor_seconds();
        for _ in 0..ROUNDS {
            rounds.add(
                round(&world, 2 * cores(), CALLS, |number| {
                    let reply = process(stub.clone(), &pictures, number);
                    async { drop(reply.await) }
                })
                .await,
            );
        }
        let used = server.processor_seconds() - before;
        Figures { per_second: rounds.per_second(), per_processor_second: (ROUNDS * CALLS) as f64 / used }
    })
}

/// It computes what the kernel does.
async fn check(stub: &Bare, pictures: &[kernel::workload::pictures::Picture]) {
    for (picture, number) in pictures.iter().zip(0..) {
        let mut wanted = vec![0; picture.pixels.len()];
        sobel_into(&picture.pixels, picture.width as usize, &mut wanted);
        assert!(process(stub.clone(), pictures, number).await == wanted, "picture {number} comes out otherwise");
    }
}

/// A virtual environment with `requirements`, made once in cargo's target folder; its interpreter.
fn environment(requirements: &Path) -> Result<PathBuf, String> {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python");
    let interpreter = place.join("bin/python");
    if !runs(Command::new(&interpreter).args(["-c", "import grpc, grpc_tools, numpy"])) {
        eprintln!("installing {} into {}", requirements.display(), place.display());
        if !runs(Command::new("python3").args(["-m", "venv"]).arg(&place)) {
            return Err("there is no python3 with venv; install Python 3.9 or later".to_owned());
        }
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
        if !runs(Command::new(&interpreter).args(pip).arg(requirements)) {
            return Err(format!("pip cannot install {}", requirements.display()));
        }
    }
    Ok(interpreter)
}

fn runs(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|ended| ended.success())
}
