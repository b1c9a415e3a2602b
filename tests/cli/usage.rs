//! Wrong usage and help: what is said, where, and with which exit code.

use crate::support::greenloop;

#[test]
fn wrong_usage_is_one_line_and_exit_code_2() {
    let cases: &[(&[&str], &str)] = &[
        (&[], "needs a subcommand"),
        (&["serve"], "greenloop serve needs a subcommand"),
        (&["fly"], "fly"),
        (&["demo"], "needs a subcommand"),
        (&["demo", "yield", "--rounds", "-1"], "-1"),
        (&["demo", "yield", "--delay", "5 weeks"], "500ms"),
        (&["serve", "echo", "--listen", "localhost"], "has no port"),
        (&["serve", "chatroom", "--listen", "tcp://:7788"], "udp://"),
        (&["serve", "echo", "--workers", "0"], "0"),
        (&["load", "localhost:http"], "port"),
        (&["load", "127.0.0.1:1", "-s", "0"], "at least 1 byte"),
        (&["load", "127.0.0.1:1", "-s", "50G"], "at most 64M"),
        (&["get"], "no URL"),
        (&["get", "nonsense"], "http"),
        (&["get", "ftp://127.0.0.1/x"], "http"),
        (
            &["get", "http://127.0.0.1/x", "http://127.0.0.1/y", "-o", "z"],
            "--out",
        ),
        (&["get", "http://127.0.0.1/x", "-j", "0"], "0"),
        (&["tour", "now"], "now"),
    ];
    for (args, part) in cases {
        greenloop(*args).run().fails_with(2, &[part]);
    }
}

#[test]
fn help_goes_to_standard_output_with_an_example() {
    for args in [
        &["demo", "--help"][..],
        &["serve", "echo", "--help"],
        &["get", "--help"],
    ] {
        let run = greenloop(args).run();
        assert!(run.succeeds().contains("Example"), "{run:?}");
    }
    let run = greenloop(["--version"]).run();
    assert_eq!(
        run.succeeds(),
        concat!("greenloop ", env!("CARGO_PKG_VERSION"), "\n")
    );
}
