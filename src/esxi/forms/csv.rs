//! What `esxcli --formatter=csv` prints: names of properties, then one line a structure, every line with a comma
//! at its end. Line breaks inside a value are the two characters `\n`; a nested list stands inside quotes, and may
//! contain line breaks there.

use serde_json::{Map, Value};

use super::FormError;

/// The structures, each an object; none when nothing was printed.
///
/// # Errors
/// A line with more or fewer fields than the header has, and a quote that is not closed.
pub fn structures(text: &str) -> Result<Vec<Value>, FormError> {
    let mut lines = fields(text)?.into_iter();
    let Some((_, header)) = lines.next() else { return Ok(Vec::new()) };
    let mut out = Vec::new();
    for (number, cells) in lines {
        if cells.len() != header.len() {
            let problem = "a csv line with another number of fields than its header";
            return Err(FormError { line: number, problem, text: cells.join(",") });
        }
        let object: Map<String, Value> =
            header.iter().zip(cells).map(|(k, v)| (k.trim().to_owned(), v.trim().into())).collect();
        out.push(Value::Object(object));
    }
    Ok(out)
}

/// The fields of each line; the empty one behind the last comma is left out.
fn fields(text: &str) -> Result<Vec<(usize, Vec<String>)>, FormError> {
    let mut out = Vec::new();
    let (mut row, mut field) = (Vec::new(), String::new());
    let (mut quoted, mut was_quoted, mut line, mut start) = (false, false, 1, 1);
    let mut chars = text.chars().peekable();
    let mut end = |row: &mut Vec<String>, field: &mut String, line: usize, was_quoted: bool| {
        if !field.trim().is_empty() || was_quoted {
            row.push(std::mem::take(field));
        }
        field.clear();
        if !row.is_empty() {
            out.push((line, std::mem::take(row)));
        }
    };
    while let Some(c) = chars.next() {
        line += usize::from(c == '\n');
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' if quoted => quoted = false,
            '"' if field.is_empty() => (quoted, was_quoted) = (true, true),
            ',' if !quoted => {
                row.push(std::mem::take(&mut field));
                was_quoted = false;
            }
            '\r' if !quoted => {}
            '\n' if !quoted => {
                end(&mut row, &mut field, start, was_quoted);
                (was_quoted, start) = (false, line);
            }
            _ => field.push(c),
        }
    }
    if quoted {
        let problem = "a quote that is not closed";
        return Err(FormError { line: start, problem, text: text.lines().nth(start - 1).unwrap_or("").to_owned() });
    }
    end(&mut row, &mut field, start, was_quoted);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lines_end_with_a_comma_and_quotes_hold_lists() {
        // Built in the shape that the client's own csv code prints.
        let text = "Name,Portgroups,Uplinks,\nvSwitch0,\"VM Network,\"\"a \"\"\"\"b\"\"\"\",\"\",\",,\n";
        let all = structures(text).unwrap();
        assert_eq!(all.len(), 1);
        assert_eq!(all[0]["Name"], "vSwitch0");
        assert_eq!(all[0]["Uplinks"], "");
        assert_eq!(structures("A,B,\r\n1,\"x, y\",\r\n").unwrap(), [json!({"A": "1", "B": "x, y"})]);
        assert!(structures("").unwrap().is_empty());
    }

    #[test]
    fn a_line_of_another_length_is_an_error_with_its_number() {
        assert_eq!(structures("A,B,\n1,2,\n1,2,3,\n").unwrap_err().line, 3);
        assert_eq!(structures("A,B,\n1,\"2\n").unwrap_err().line, 2);
    }
}
