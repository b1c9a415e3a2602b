//! `greenloop load`: figures, and wrong answers.

use crate::serve::serve_echo;
use crate::support::greenloop;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpListener;

#[test]
fn load_measures_and_says_so_in_json() {
    let (_server, address) = serve_echo(&[]);
    let args = [
        "load",
        &address.to_string(),
        "-c",
        "8",
        "-s",
        "100K",
        "-d",
        "200ms",
        "--json",
    ];
    let run = greenloop(args).run();
    let json: Value = serde_json::from_str(run.succeeds()).unwrap();
    assert_eq!(json["connections"], 8);
    let messages = json["messages"].as_u64().unwrap();
    assert!(messages > 0);
    assert_eq!(json["bytes"], messages * 100 * 1024);
    let latency = |p: &str| json["latency_seconds"][p].as_f64().unwrap();
    assert!(0.0 < latency("p50") && latency("p50") <= latency("p99"));
    assert!(latency("p99") <= latency("p99.9"));
    let text = greenloop(["load", &address.to_string(), "-c", "2", "-d", "50ms"]).run();
    for word in ["connections  2\n", "rate", "p99.9", "errors       0\n"] {
        assert!(text.succeeds().contains(word), "{word} {text:?}");
    }
}

#[test]
fn load_notices_wrong_and_missing_answers() {
    let wrong = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = wrong.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut stream in wrong.incoming().flatten() {
            let mut buffer = [0; 64];
            let _ = stream.read_exact(&mut buffer);
            buffer[63] ^= 1;
            let _ = stream.write_all(&buffer);
        }
    });
    let run = greenloop(["load", &address, "-c", "1", "-d", "1s"]).run();
    run.fails_with(1, &["1 of 1 connections", "differs"]);
    greenloop(["load", "127.0.0.1:1"])
        .run()
        .fails_with(1, &["127.0.0.1:1", "refused"]);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let run = greenloop(["load", &address, "-c", "1", "--timeout", "50ms"]).run();
    run.fails_with(1, &["timed out"]);
}
