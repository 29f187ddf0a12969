//! The rule base.

/// The name of a rule. `lab-file` stands for "the lab file says so".
pub type RuleId = String;
