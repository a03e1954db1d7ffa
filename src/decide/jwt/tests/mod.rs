//! Whole tokens against whole issuers, by requirement.

mod claim_rules;
mod confusion;
mod fixture;
mod forms;
mod key_choice;
mod key_files;
mod oracle;
mod remote_sets;
mod vectors;
