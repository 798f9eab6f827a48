"""Which test shows each documented behaviour of ASINScope (AS-B…) and each decision on what it leaves open (AS-Q…).

``SHOWN`` names a test as ``file::function``, the file relative to ``tests/providers``; ``EXEMPT`` gives the reason why
a number has none here.
"""

from __future__ import annotations

NUMBERS = [f"AS-B{number}" for number in range(1, 60)] + [f"AS-Q{number}" for number in range(1, 16)]
"""All numbers there are."""

REQUEST = "asinscope/test_asinscope_request.py"
READ = "asinscope/test_asinscope_read.py"
STEPS = "asinscope/test_asinscope_steps.py"
ERRORS = "asinscope/test_asinscope_errors.py"
PROBE = "asinscope/test_asinscope_probe.py"
SANDBOX = "asinscope/test_asinscope_sandbox.py"
VENDOR_LIMITS = "sandbox/test_sandbox_asinscope_limits.py"

SHOWN: list[tuple[str, str]] = [
    # where and with what
    ("AS-B1", f"{REQUEST}::test_as_b1_b2_where_and_with_what"),
    ("AS-B2", f"{SANDBOX}::test_as_b2_the_key_is_sent_with_every_request_to_both_endpoints"),
    ("AS-B3", f"{SANDBOX}::test_as_b3_b58_q13_a_key_without_subscription"),
    # the lookup: request
    ("AS-B4", f"{REQUEST}::test_as_b4_b6_b10_the_call"),
    ("AS-B5", f"{REQUEST}::test_as_b5_none_or_several_kinds_are_refused"),
    ("AS-B6", f"{SANDBOX}::test_as_b5_b6_b20_b21_a_lookup_by_barcode"),
    ("AS-B7", f"{REQUEST}::test_as_b7_b44_no_code_and_more_than_ten_are_refused"),
    ("AS-B8", f"{REQUEST}::test_as_b8_the_domain_is_com_unless_said"),
    ("AS-B9", f"{REQUEST}::test_as_b9_q9_other_domains_are_refused"),
    ("AS-B10", "test_http_key.py::test_the_key_travels_as_a_percent_encoded_query_parameter"),
    ("AS-B11", f"{SANDBOX}::test_as_b7_b11_b44_b46_ten_codes_cost_ten_however_they_are_sent"),
    ("AS-B13", f"{REQUEST}::test_as_b13_the_vendors_own_thirty_seconds"),
    # the lookup: answer
    ("AS-B12", f"{SANDBOX}::test_as_b4_b11_b12_b14_b15_b16_b17_b18_a_lookup_by_asin"),
    ("AS-B14", f"{ERRORS}::test_as_b14_items_that_are_no_array_are_a_bad_response"),
    ("AS-B15", f"{READ}::test_as_b15_b16_b17_b18_the_usage_fields"),
    ("AS-B16", f"{READ}::test_as_b15_b16_b17_b18_the_usage_fields"),
    ("AS-B17", f"{READ}::test_as_b15_b16_b17_b18_the_usage_fields"),
    ("AS-B18", f"{READ}::test_as_b18_what_was_charged_counts_not_what_was_claimed"),
    ("AS-B19", f"{READ}::test_as_b19_b20_b21_q12_every_field_but_the_asin_may_be_null"),
    ("AS-B20", f"{REQUEST}::test_as_b20_barcodes_are_text_with_their_zeros"),
    ("AS-B21", f"{READ}::test_as_q11_barcodes_match_after_padding_wherever_they_stand"),
    *[
        (f"AS-B{number}", f"{READ}::test_as_b12_b14_b19_to_b30_every_field_of_an_item_is_passed_on_as_it_came")
        for number in range(22, 31)
    ],
    # the account's tokens
    ("AS-B31", f"{REQUEST}::test_as_b31_the_probe_has_no_parameter_of_its_own"),
    ("AS-B32", f"{SANDBOX}::test_as_b31_to_b40_b49_the_probe_costs_nothing"),
    ("AS-B33", f"{SANDBOX}::test_as_b33_asking_first_and_taking_what_fits_never_meets_a_429"),
    *[(f"AS-B{number}", f"{PROBE}::test_as_b34_to_b40_the_six_fields") for number in range(34, 41)],
    # limits
    ("AS-B41", f"{SANDBOX}::test_as_b41_b42_b43_the_vendor_tells_the_numbers_that_the_plan_declares"),
    ("AS-B42", f"{SANDBOX}::test_as_b41_b42_b43_the_vendor_tells_the_numbers_that_the_plan_declares"),
    ("AS-B43", f"{REQUEST}::test_as_b41_b42_b43_plans"),
    ("AS-B44", f"{REQUEST}::test_as_b7_b44_one_to_ten_codes"),
    ("AS-B45", f"{REQUEST}::test_as_b11_b45_b46_a_token_of_both_limits_for_each_code"),
    ("AS-B46", f"{SANDBOX}::test_as_b7_b11_b44_b46_ten_codes_cost_ten_however_they_are_sent"),
    ("AS-B47", f"{VENDOR_LIMITS}::test_as_b17_b40_b47_daily_reset_is_a_moving_boundary_told_in_ms"),
    ("AS-B48", f"{READ}::test_as_b48_the_limits_are_read_from_the_body_alone"),
    ("AS-B49", f"{SANDBOX}::test_as_b31_to_b40_b49_the_probe_costs_nothing"),
    # errors
    ("AS-B50", f"{STEPS}::test_as_b50_one_code_that_is_refused_is_an_invalid_request"),
    ("AS-B51", f"{SANDBOX}::test_as_b51_b57_a_key_that_the_vendor_does_not_know"),
    ("AS-B52", f"{ERRORS}::test_as_b52_b59_the_day_is_used_up"),
    ("AS-B53", f"{ERRORS}::test_as_b53_b59_q4_the_bucket_lacks_tokens"),
    ("AS-B54", f"{ERRORS}::test_as_b54_any_other_429_waits_a_while"),
    ("AS-B55", f"{ERRORS}::test_as_b55_q3_q6_a_server_fault_may_have_been_charged"),
    ("AS-B56", f"{PROBE}::test_as_b56_b57_b58_q2_q3_what_the_probe_says_about_the_key"),
    ("AS-B57", f"{SANDBOX}::test_as_b51_b57_a_key_that_the_vendor_does_not_know"),
    ("AS-B58", f"{SANDBOX}::test_as_b3_b58_q13_a_key_without_subscription"),
    ("AS-B59", f"{SANDBOX}::test_as_b45_b53_b59_q4_a_bucket_with_too_little_left"),
    # open questions
    ("AS-Q1", f"{READ}::test_as_q1_a_code_that_is_not_among_the_items_is_missing_and_paid_for"),
    ("AS-Q2", f"{PROBE}::test_as_b56_b57_b58_q2_q3_what_the_probe_says_about_the_key"),
    ("AS-Q3", f"{STEPS}::test_as_b50_q3_the_body_of_a_400_is_never_relied_upon"),
    ("AS-Q4", f"{SANDBOX}::test_as_b45_b53_b59_q4_a_bucket_with_too_little_left"),
    ("AS-Q5", f"{STEPS}::test_as_q5_a_day_with_little_left_is_used_up_in_steps"),
    ("AS-Q6", f"{STEPS}::test_as_q6_a_refused_request_spent_nothing_and_what_is_left_is_asked_for_again"),
    ("AS-Q9", f"{REQUEST}::test_as_q9_malformed_asins_are_refused"),
    ("AS-Q10", f"{STEPS}::test_as_q10_one_refused_code_is_found_by_asking_for_each_alone"),
    ("AS-Q11", f"{READ}::test_as_q11_several_items_for_a_code_and_several_codes_for_an_item_in_any_order"),
    ("AS-Q12", f"{READ}::test_as_q12_unknown_fields_and_other_numbers_are_kept"),
    ("AS-Q13", f"{SANDBOX}::test_as_b3_b58_q13_a_key_without_subscription"),
    ("AS-Q15", f"{VENDOR_LIMITS}::test_as_q15_fractions_are_kept_and_reports_are_floored"),
]

EXEMPT: list[tuple[str, str]] = [
    ("AS-Q7", "the adapter passes the milliseconds on; the margin and the second look after a reset are the fleet's"),
    ("AS-Q8", "how often the free endpoint is asked is decided by the fleet's steward, not by the adapter"),
    ("AS-Q14", "one limiter for all keys of an account is a matter of the fleet's settings; the adapter sees no keys"),
]
