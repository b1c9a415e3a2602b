//! Examples that print what they are to show.

use crate::support::example_program;

#[test]
fn examples_of_the_demos_print_their_order() {
    let lines = |order: &[(usize, u32)]| -> String {
        let names = ["one", "two", "three"];
        order
            .iter()
            .map(|(f, i)| format!("{} {i}\n", names[*f]))
            .collect()
    };
    let one_after_the_other: Vec<_> = (0..3).flat_map(|f| (0..5).map(move |i| (f, i))).collect();
    let in_turns: Vec<_> = (0..5).flat_map(|i| (0..3).map(move |f| (f, i))).collect();
    let run = |name: &str| example_program(name, None::<&str>).run();
    assert_eq!(run("gevent_spawn").succeeds(), lines(&one_after_the_other));
    assert_eq!(run("gevent_switch").succeeds(), lines(&in_turns));
}

#[test]
fn example_download_saves_files() {
    let run = example_program("download", None::<&str>).run();
    assert!(run.succeeds().contains("20 saved, 0 failed in "), "{run:?}");
}
