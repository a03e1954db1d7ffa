//! From files to a published snapshot, again and again.
mod report;
pub use report::ReloadReport;
