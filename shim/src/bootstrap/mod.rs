//! The command line that containerd (and Carob's supervisor) runs: `start`, `delete`, and the server.
//!
//! The contract is containerd's `core/runtime/v2/README.md`: flags before the action, the server's
//! address on standard output, the bundle as working directory.

mod address;
mod args;
mod delete;
mod info;
mod protocol;
mod start;

use std::io::{IsTerminal, Read, Write};
use std::process::ExitCode;

use crate::sentence::sentence;
use crate::worker::hooks;

pub use address::{AddressError, DIRECTORY, Held};
pub use args::{Action, Args, ArgsError};

/// The program's name, as in `argv[0]`.
pub const NAME: &str = "containerd-shim-carob-v1";

/// Runs the action that the command line asks for.
pub fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let Some((action, args)) = args.split_first()
        && action == hooks::ACTION
    {
        return fail(&hooks::become_hook(args));
    }
    let args = match Args::parse(args) {
        Ok(args) => args,
        Err(error) => return fail(&error),
    };
    let done = match args.action {
        Action::Version => say(&format!("{NAME} {}\n", env!("CARGO_PKG_VERSION"))),
        Action::Info => match info::runtime_info(given()) {
            Ok(info) => say_bytes(&info),
            Err(error) => return fail(&error),
        },
        Action::Start => match start::start(&args) {
            Ok(answer) => say_bytes(&answer),
            Err(error) => return fail(&error),
        },
        Action::Delete => match delete::delete(&args) {
            Ok(response) => say_bytes(&response),
            Err(error) => return fail(&error),
        },
        Action::Serve => match crate::server::serve(&args) {
            Ok(()) => Ok(()),
            Err(error) => return fail(&error),
        },
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// What containerd gives on standard input. A person at a terminal gives nothing.
fn given() -> Box<dyn Read> {
    match std::io::stdin().is_terminal() {
        true => Box::new(std::io::empty()),
        false => Box::new(std::io::stdin()),
    }
}

fn say(text: &str) -> std::io::Result<()> {
    say_bytes(text.as_bytes())
}

fn say_bytes(bytes: &[u8]) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

/// containerd shows what a failed shim printed, so the sentence goes to standard error.
fn fail(error: &dyn std::error::Error) -> ExitCode {
    // Nothing is left to do when even this can't be written.
    let _ = writeln!(std::io::stderr(), "{NAME}: {}", sentence(error));
    ExitCode::FAILURE
}
