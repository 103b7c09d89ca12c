//! The replica against a server of grpcio and NumPy that does the same: answers per second of processor time.

use std::{path::Path, sync::Arc};

use kernel::workload::{pictures::Picture, sobel::sobel_into};
use tokio::runtime::Runtime;

use crate::{
    calls::{Bare, Rounds, pictures, process, processing, serving},
    environment::environment,
    server::{Server, cores},
};

const ROUNDS: usize = 5;
const CALLS: usize = 2_000;

/// Prints both servers' throughput and what it cost them.
pub(crate) fn compare() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/python");
    let proto = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernel/proto");
    println!("256x256, {} in flight         answers   of a core in use", 2 * cores());
    let interpreter = match environment("grpc, grpc_tools, numpy", &here.join("requirements.txt")) {
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

fn measure(server: Server) -> Figures {
    Runtime::new().expect("a runtime can be made").block_on(async {
        let (server, world, stub) = serving(server).await;
        let pictures = pictures("256x256");
        check(&stub, &pictures).await;
        let mut rounds = Rounds::default();
        let before = server.processor_seconds();
        for _ in 0..ROUNDS {
            rounds.add(processing(&world, 2 * cores(), CALLS, &stub, &pictures).await);
        }
        let used = server.processor_seconds() - before;
        Figures { per_second: rounds.per_second(), per_processor_second: (ROUNDS * CALLS) as f64 / used }
    })
}

/// It computes what the kernel does.
async fn check(stub: &Bare, pictures: &Arc<[Picture]>) {
    for (picture, number) in pictures.iter().zip(0..) {
        let mut wanted = vec![0; picture.pixels.len()];
        sobel_into(&picture.pixels, picture.width as usize, &mut wanted);
        assert!(
            process(stub.clone(), pictures.clone(), number).await == wanted,
            "picture {number} comes out otherwise"
        );
    }
}
