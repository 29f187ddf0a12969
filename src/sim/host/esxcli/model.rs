//! What an esxcli command answers, before it is printed: typed values with the label of the text form and the
//! property name of the machine forms.

/// A value of a property.
#[derive(Debug, Clone, PartialEq)]
pub(in super::super) enum V {
    S(String),
    I(i64),
    B(bool),
    /// An integer with the unit that only the text form shows.
    Unit(i64, &'static str),
    L(Vec<String>),
    /// A nested record.
    R(Rec),
}

impl From<&str> for V {
    fn from(v: &str) -> Self {
        V::S(v.to_owned())
    }
}
impl From<String> for V {
    fn from(v: String) -> Self {
        V::S(v)
    }
}
impl From<&String> for V {
    fn from(v: &String) -> Self {
        V::S(v.clone())
    }
}
impl From<i64> for V {
    fn from(v: i64) -> Self {
        V::I(v)
    }
}
impl From<bool> for V {
    fn from(v: bool) -> Self {
        V::B(v)
    }
}
impl From<Vec<String>> for V {
    fn from(v: Vec<String>) -> Self {
        V::L(v)
    }
}
impl From<&Vec<String>> for V {
    fn from(v: &Vec<String>) -> Self {
        V::L(v.clone())
    }
}

/// One structure.
#[derive(Debug, Clone, PartialEq)]
pub(in super::super) struct Rec {
    /// The structure's type name, as xml and keyvalue print it.
    pub type_name: &'static str,
    /// The unindented line in front of it in the text form.
    pub header: Option<String>,
    /// Label and value, in the order of the text form. A label that begins with `~` is not shown there.
    pub fields: Vec<(&'static str, V)>,
}

impl Rec {
    pub(in super::super) fn new(type_name: &'static str) -> Self {
        Self { type_name, header: None, fields: Vec::new() }
    }

    pub(in super::super) fn titled(type_name: &'static str, header: impl Into<String>) -> Self {
        Self { type_name, header: Some(header.into()), fields: Vec::new() }
    }

    #[must_use]
    pub(in super::super) fn with(mut self, label: &'static str, value: impl Into<V>) -> Self {
        self.fields.push((label, value.into()));
        self
    }

    /// Adds a field where the release has it.
    #[must_use]
    pub(in super::super) fn when(self, has: bool, label: &'static str, value: impl Into<V>) -> Self {
        if has { self.with(label, value) } else { self }
    }
}

/// The property name behind a label: blanks and marks are left out (`MAC Address` is `MACAddress`).
pub(in super::super) fn property(label: &str) -> String {
    label.chars().filter(char::is_ascii_alphanumeric).collect()
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub(in super::super) enum Reply {
    /// A setter that did its work: nothing is printed.
    Nothing,
    /// One word or sentence.
    Say(String),
    /// One structure.
    One(Rec),
    /// A list of structures, a record each.
    List(Vec<Rec>),
    /// A list of structures as a table.
    Table(Vec<Rec>),
    /// Refused by the host: the text alone, exit code 1.
    Fault(String),
}

impl Reply {
    pub(in super::super) fn fault(text: impl Into<String>) -> Self {
        Reply::Fault(text.into())
    }
}
