//! `tcpSocket`.

use std::time::Duration;

use carob_core::event::ProbeResult;
use tokio::net::TcpListener;

use super::here;
use crate::probe::connect;

const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_port_that_listens_is_good_and_one_that_does_not_is_told() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    for host in [None, Some("127.0.0.1"), Some("localhost")] {
        let outcome = connect(&here(), host, port, LIMIT).await.unwrap();
        assert_eq!(outcome.result, ProbeResult::Success, "{outcome:?}");
        assert_eq!(outcome.output, "");
    }
    drop(server);
    let outcome = connect(&here(), None, port, LIMIT).await.unwrap();
    assert_eq!(outcome.result, ProbeResult::Failure);
    assert_eq!(
        outcome.output,
        format!("dial tcp 127.0.0.1:{port}: connect: connection refused")
    );
}

#[tokio::test]
async fn a_name_without_address_is_told() {
    let outcome = connect(&here(), Some("nobody.invalid"), 80, LIMIT).await;
    assert_eq!(
        outcome.unwrap().output,
        "dial tcp: lookup nobody.invalid: no such host"
    );
}

#[tokio::test]
async fn a_pod_without_address_is_a_reason_to_ask_again() {
    let mut place = here();
    place.ip = None;
    assert!(connect(&place, None, 80, LIMIT).await.is_err());
}
