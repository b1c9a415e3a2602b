//! The hard cases by their numbers, and the tests that play them.
//!
//! A test may play several cases, and a case may need several tests. What is listed here
//! exists: that is a test as well.

use std::path::Path;

/// A case: its number and name, and where its tests stand.
struct Case(u32, &'static str, &'static [&'static str]);

const CASES: &[Case] = &[
    Case(
        1,
        "cl-too-big",
        &["it/fetch/framing a_short_body_is_a_failure_after_all_tries"],
    ),
    Case(
        3,
        "truncate-then-ok",
        &[
            "it/fetch/framing a_body_cut_once_is_whole_the_second_time",
            "it/fetch/odd a_body_may_be_cut_anywhere",
        ],
    ),
    Case(
        5,
        "cl-garbage",
        &[
            "it/fetch/framing a_length_that_is_no_number_is_refused",
            "it/fetch/framing an_immense_length_is_only_a_number",
        ],
    ),
    Case(
        6,
        "cl-and-chunked",
        &[
            "it/fetch/framing chunks_win_over_a_length",
            "it/fetch/odd trailers_and_extensions_of_chunks_are_passed_over",
        ],
    ),
    Case(
        7,
        "chunk-no-end",
        &[
            "it/fetch/framing a_chunked_body_without_its_end_is_a_failure",
            "it/fetch/odd a_chunk_of_no_size_is_refused",
        ],
    ),
    Case(
        8,
        "chunk-cut",
        &[
            "it/fetch/framing a_body_cut_in_a_chunk_starts_over",
            "it/fetch/odd a_chunked_body_with_a_tag_goes_on_where_it_was_cut",
        ],
    ),
    Case(
        10,
        "close-delimited",
        &[
            "it/fetch/framing a_body_that_ends_with_its_connection_is_taken_and_marked",
            "it/fetch/odd http_1_0_is_understood",
        ],
    ),
    Case(
        11,
        "tls-trunc",
        &["it/fetch/tls a_body_that_ends_with_its_connection_needs_a_goodbye"],
    ),
    Case(12, "zero", &["it/fetch/framing an_empty_file_is_a_file"]),
    Case(
        13,
        "s204",
        &["it/fetch/framing an_answer_that_is_no_file_is_a_failure"],
    ),
    Case(
        14,
        "early-hints",
        &["it/fetch/framing interim_answers_are_passed_over"],
    ),
    Case(
        16,
        "s101",
        &["it/fetch/framing an_answer_that_is_no_file_is_a_failure"],
    ),
    Case(
        17,
        "http09",
        &[
            "it/fetch/framing bytes_without_a_head_are_not_saved",
            "it/fetch/odd tls_to_a_plain_port_is_a_failure",
            "it/fetch/odd a_head_that_never_ends_is_refused",
        ],
    ),
    Case(
        18,
        "lf-only",
        &["it/fetch/framing lines_may_end_in_lf_alone"],
    ),
    Case(
        19,
        "hdr-fold",
        &["it/fetch/framing header_lines_may_be_folded_or_broken"],
    ),
    Case(
        22,
        "rst-mid",
        &[
            "it/fetch/resume a_reset_transfer_goes_on_where_it_stopped",
            "it/fetch/resume a_date_of_change_serves_where_there_is_no_tag",
        ],
    ),
    Case(
        23,
        "rst-every-64k",
        &[
            "it/fetch/resume a_transfer_reset_again_and_again_gets_there",
            "it/fetch/resume real_resets_lose_nothing",
        ],
    ),
    Case(
        25,
        "ignore-range",
        &["it/fetch/resume a_server_that_ignores_ranges_is_taken_from_the_start"],
    ),
    Case(
        26,
        "etag-change",
        &["it/fetch/resume two_versions_are_never_joined"],
    ),
    Case(
        27,
        "etag-change-ignores-if-range",
        &["it/fetch/resume two_versions_are_never_joined"],
    ),
    Case(
        28,
        "size-change",
        &["it/fetch/resume two_versions_are_never_joined"],
    ),
    Case(
        29,
        "resume-changed",
        &[
            "it/fetch/resume a_file_that_changed_between_runs_is_fetched_anew",
            "it/fetch/resume a_partial_file_of_unknown_origin_is_left_alone",
        ],
    ),
    Case(
        30,
        "resume-larger",
        &["it/fetch/resume a_partial_file_of_unknown_origin_is_left_alone"],
    ),
    Case(
        32,
        "s416-always",
        &["it/fetch/resume a_server_that_refuses_every_range_is_asked_for_the_whole"],
    ),
    Case(
        34,
        "s206-wrong-start",
        &["it/fetch/resume a_part_that_is_not_the_one_asked_for_is_not_written"],
    ),
    Case(
        35,
        "s206-no-content-range",
        &["it/fetch/resume a_part_that_is_not_the_one_asked_for_is_not_written"],
    ),
    Case(
        37,
        "s206-more-than-asked",
        &["it/fetch/resume bytes_beyond_the_range_are_not_written"],
    ),
    Case(
        39,
        "s206-multipart",
        &["it/fetch/resume a_part_that_is_not_the_one_asked_for_is_not_written"],
    ),
    Case(
        40,
        "r429-sec",
        &[
            "it/fetch/retry a_pause_the_server_asks_for_is_kept",
            "it/fetch/retry pauses_are_not_tries",
        ],
    ),
    Case(
        41,
        "r503-date",
        &["it/fetch/retry a_date_that_is_past_means_at_once_and_garbage_means_nothing"],
    ),
    Case(
        42,
        "r429-huge",
        &["it/fetch/retry a_pause_of_a_day_is_not_waited_for"],
    ),
    Case(
        43,
        "r500-twice",
        &["it/fetch/retry passing_failures_are_tried_again"],
    ),
    Case(
        44,
        "s404",
        &["it/fetch/retry lasting_failures_are_not_tried_again"],
    ),
    Case(
        45,
        "limit2",
        &[
            "it/fetch/pace a_server_that_takes_two_at_a_time_gives_all_files",
            "it/fetch/pace a_server_that_takes_two_at_a_time_gives_all_files_to_auto",
            "it/fetch/segments a_server_that_takes_one_at_a_time_keeps_its_one",
        ],
    ),
    Case(
        46,
        "ka-close",
        &[
            "it/fetch/retry a_connection_that_was_closed_meanwhile_is_replaced",
            "it/fetch/odd an_answer_that_nobody_asked_for_is_not_the_next_ones",
        ],
    ),
    Case(
        48,
        "head-405",
        &["it/fetch/odd no_other_method_than_get_is_needed"],
    ),
    Case(
        49,
        "stall-header",
        &["it/fetch/retry a_server_that_never_answers_times_out"],
    ),
    Case(
        50,
        "stall-once",
        &["it/fetch/retry a_transfer_that_stalls_is_gone_on_with"],
    ),
    Case(
        51,
        "drip",
        &[
            "it/fetch/retry a_drip_ends_at_the_lowest_speed_or_the_total_limit",
            "it/fetch/odd a_head_that_drips_ends_at_its_limit",
        ],
    ),
    Case(
        52,
        "refused",
        &["it/fetch/retry refused_and_unresolvable_are_told_apart"],
    ),
    Case(
        54,
        "redir-file",
        &["it/fetch/retry redirects_that_lead_nowhere_are_failures"],
    ),
    Case(
        55,
        "redir-noloc",
        &["it/fetch/retry redirects_that_lead_nowhere_are_failures"],
    ),
    Case(
        56,
        "redir-rel",
        &["it/fetch/retry relative_redirects_are_followed"],
    ),
    Case(
        58,
        "redir-crosshost",
        &["it/fetch/retry what_is_meant_for_one_host_is_not_sent_to_another"],
    ),
    Case(
        59,
        "redir-cookie",
        &["it/fetch/cookies a_cookie_that_a_redirect_sets_is_sent_on"],
    ),
    Case(
        60,
        "gzip-unasked",
        &["it/fetch/framing an_encoding_that_nobody_asked_for_is_stored_as_it_is"],
    ),
    Case(
        62,
        "gzip-bomb",
        &["it/fetch/decode a_bomb_is_no_file_and_asked_for_once"],
    ),
    Case(
        64,
        "repr-digest-bad",
        &["it/fetch/verify a_digest_of_the_server_counts_where_no_checksum_is_given"],
    ),
    Case(
        65,
        "cd-dotdot",
        &["it/fetch/names a_name_stays_in_its_folder"],
    ),
    Case(
        67,
        "cd-pct-nul",
        &["it/fetch/names a_name_holds_nothing_that_a_terminal_obeys"],
    ),
    Case(
        68,
        "cd-long",
        &["it/fetch/names a_long_name_is_cut_and_keeps_its_extension"],
    ),
    Case(
        70,
        "cd-utf8-ext",
        &["it/fetch/names a_name_may_be_of_any_language"],
    ),
    Case(
        72,
        "disk full",
        &[
            "cli/get_full a_full_disk_pauses_until_there_is_room",
            "cli/get_full a_disk_that_stays_full_ends_the_run_and_keeps_what_came",
            "cli/get_full a_full_disk_leaves_no_half_file_of_many",
        ],
    ),
    Case(
        73,
        "no permission",
        &[
            "it/fetch/names a_folder_that_cannot_be_written_to_fails_before_any_request",
            "cli/get get_with_unwritable_folders_fails_before_any_request",
        ],
    ),
    Case(
        74,
        "target is something else",
        &["it/fetch/names links_folders_and_pipes_in_the_way_are_not_written_through"],
    ),
    Case(
        75,
        "more than 4 GiB",
        &[
            "it/fetch/huge a_file_past_32_bits_is_gone_on_with_where_it_was_cut",
            "it/fetch/huge holes_past_32_bits_are_filled_in_segments",
            "it/fetch/huge sizes_past_32_bits_are_told_and_held_against_limits",
            "it/fetch/framing an_immense_length_is_only_a_number",
        ],
    ),
    Case(
        76,
        "kill -9",
        &[
            "cli/get_kill killed_fifty_times_at_any_byte_a_large_file_is_whole_in_the_end",
            "cli/get_kill killed_in_the_middle_a_list_is_completed_by_the_same_command",
        ],
    ),
    Case(
        77,
        "power cut",
        &[
            "cli/get_order nothing_is_told_before_it_is_on_the_disk",
            "it/fetch/power facts_that_were_cut_off_count_as_far_as_they_go",
            "it/fetch/power facts_about_bytes_that_were_lost_are_not_believed",
            "it/fetch/power a_journal_is_believed_about_files_that_are_there",
        ],
    ),
    Case(
        78,
        "Ctrl-C",
        &[
            "cli/get ctrl_c_leaves_a_part_that_the_same_command_resumes",
            "cli/get ctrl_c_ends_a_get_that_waits_for_its_list",
        ],
    ),
    Case(
        79,
        "two at once",
        &[
            "it/fetch/journal a_folder_has_one_run_at_a_time",
            "it/fetch/names a_partial_file_that_another_process_writes_is_left_to_it",
            "cli/get two_gets_of_one_list_into_one_folder_do_not_both_run",
        ],
    ),
    Case(
        80,
        "lists",
        &[
            "it/fetch/run an_endless_input_is_read_as_it_is_needed",
            "it/fetch/run bad_lines_and_duplicates_are_told_and_the_rest_is_fetched",
        ],
    ),
    Case(
        82,
        "checksum on mirrors",
        &[
            "it/fetch/verify a_wrong_file_is_tried_once_more_and_never_gets_a_name",
            "it/fetch/verify the_right_file_of_another_place_is_taken",
        ],
    ),
    Case(
        83,
        "tls",
        &[
            "it/fetch/tls a_bad_certificate_is_named_and_not_tried_again",
            "it/fetch/tls old_versions_of_tls_are_refused",
            "it/fetch/tls a_handshake_that_stalls_ends_with_the_time_to_connect",
        ],
    ),
    Case(
        84,
        "soft 404",
        &["it/fetch/verify a_page_that_says_not_found_is_not_the_file"],
    ),
];

/// The list is whole: so that none is dropped with its last test, and none is added without.
const NUMBERS: &[u32] = &[
    1, 3, 5, 6, 7, 8, 10, 11, 12, 13, 14, 16, 17, 18, 19, 22, 23, 25, 26, 27, 28, 29, 30, 32, 34,
    35, 37, 39, 40, 41, 42, 43, 44, 45, 46, 48, 49, 50, 51, 52, 54, 55, 56, 58, 59, 60, 62, 64, 65,
    67, 68, 70, 72, 73, 74, 75, 76, 77, 78, 79, 80, 82, 83, 84,
];

#[test]
fn every_case_has_its_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    for Case(number, name, tests) in CASES {
        assert!(!tests.is_empty(), "case {number}, {name}, has no test");
        for test in *tests {
            let (file, function) = test.split_once(' ').unwrap();
            let path = root.join(format!("{file}.rs"));
            let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{file}: {e}"));
            let place = text.find(&format!("\nfn {function}()"));
            let before = place.map(|place| &text[..place]);
            assert!(
                before.is_some_and(|before| before.ends_with("#[test]")),
                "case {number}, {name}: there is no test {function} in {file}"
            );
        }
    }
    let numbers: Vec<_> = CASES.iter().map(|case| case.0).collect();
    assert_eq!(numbers, NUMBERS);
}
