// SPDX-License-Identifier: MIT OR Apache-2.0
//! The whole suite once more, run by ordinary users.

use std::env;

use tare_oracle::again::{all_pass_again, this_program};
use tare_oracle::{need, ordinary_user};

/// Runs all other tests in this binary as the user; tests that need root skip
/// themselves.
#[track_caller]
fn all_pass_for(subids: bool) {
    let mut command = ordinary_user(subids).command(this_program());
    command.envs(env::vars_os().filter(|(name, _)| name == "TARE_IMAGES"));
    all_pass_again(&mut command, 2);
}

#[test]
fn ordinary_users_with_one_id_pass_all() {
    need!(user("plain"), userns, overlay, kernel(5, 11));
    all_pass_for(false);
}

#[test]
fn ordinary_users_with_subordinate_ids_pass_all() {
    need!(user("subids"), userns, overlay, kernel(5, 11));
    all_pass_for(true);
}
