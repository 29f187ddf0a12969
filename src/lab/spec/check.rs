//! What can be wrong in a lab file that reads well.

use super::Lab;
use crate::playbook::Problem;

/// Checks a lab.
pub fn check(_lab: &Lab, _problems: &mut Vec<Problem>) {}
