//! For `scripts/bench`: `exec ADDRESS BUNDLE ID` executes `true` in a running container of a shim, of whatever
//! make, for each line of standard input: Exec, Start, Wait and Delete of its Task service. Prints the
//! milliseconds.

use std::error::Error;
use std::io::{Write, stdin, stdout};
use std::time::{Duration, Instant};

use containerd_shim_protos::api::{DeleteRequest, ExecProcessRequest, StartRequest, WaitRequest};
use containerd_shim_protos::protobuf::MessageField;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::shim_sync::{Client, TaskClient};
use ttrpc::context::{Context, with_duration};

type Done = Result<(), Box<dyn Error>>;

fn main() -> Done {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [address, bundle, id] = &args[..] else {
        return Err("usage: exec ADDRESS BUNDLE ID".into());
    };
    let config = std::fs::read(format!("{bundle}/config.json"))?;
    let config: serde_json::Value = serde_json::from_slice(&config)?;
    let mut process = config["process"].clone();
    process["args"] = serde_json::json!(["true"]);
    let client = TaskClient::new(Client::connect(address)?);
    for (number, line) in stdin().lines().enumerate() {
        line?;
        let began = Instant::now();
        let name = format!("bench-{}-{number}", std::process::id());
        exec(&client, id, &name, &process.to_string())?;
        println!("{:.3}", began.elapsed().as_secs_f64() * 1e3);
        stdout().flush()?;
    }
    Ok(())
}

fn context() -> Context {
    with_duration(Duration::from_secs(60))
}

fn exec(client: &TaskClient, id: &str, exec_id: &str, process: &str) -> Done {
    let (id, exec_id) = (id.to_owned(), exec_id.to_owned());
    let request = ExecProcessRequest {
        id: id.clone(),
        exec_id: exec_id.clone(),
        spec: MessageField::some(Any {
            type_url: "types.containerd.io/opencontainers/runtime-spec/1/Process".to_owned(),
            value: process.as_bytes().to_vec(),
            ..Any::default()
        }),
        ..ExecProcessRequest::default()
    };
    client.exec(context(), &request)?;
    let request = StartRequest {
        id: id.clone(),
        exec_id: exec_id.clone(),
        ..StartRequest::default()
    };
    client.start(context(), &request)?;
    let request = WaitRequest {
        id: id.clone(),
        exec_id: exec_id.clone(),
        ..WaitRequest::default()
    };
    let exited = client.wait(context(), &request)?;
    if exited.exit_status != 0 {
        return Err(format!("true ended with {}", exited.exit_status).into());
    }
    let request = DeleteRequest {
        id,
        exec_id,
        ..DeleteRequest::default()
    };
    client.delete(context(), &request)?;
    Ok(())
}
