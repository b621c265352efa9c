//! The declarations of the header `include/sidestep.h`.

use std::fs;

use crate::library::manifest_dir;

/// A function of the header.
pub(crate) struct Function {
    pub(crate) returns: String,
    pub(crate) name: String,
    pub(crate) parameters: Vec<Parameter>,
}

/// A parameter, or the result and name of a function.
pub(crate) struct Parameter {
    /// The type as in the header, such as `const char *`.
    pub(crate) declared: String,
    /// The type without `const` and spaces, such as `char*`.
    pub(crate) kind: String,
    pub(crate) name: String,
}

pub(crate) fn header() -> String {
    fs::read_to_string(manifest_dir().join("include/sidestep.h")).unwrap()
}

/// Returns the header without comments.
pub(crate) fn code() -> String {
    let header = header();
    let code: String = header.split("*/").map(|part| part.split("/*").next().unwrap()).collect();
    code.replace("extern \"C\" {", "").replace("}  // extern \"C\"", "")
}

/// Returns the declarations that end with a semicolon, each on one line.
fn statements() -> Vec<String> {
    let code: Vec<_> = code().lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
    let (mut statements, mut depth, mut current) = (Vec::new(), 0, String::new());
    for character in code.join(" ").replace("SIDESTEP_MUST_USE", "").chars() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ';' if depth == 0 => {
                statements.push(one_line(&std::mem::take(&mut current)));
                continue;
            }
            _ => {}
        }
        current.push(character);
    }
    statements
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns the names and values of the constants.
pub(crate) fn constants() -> Vec<(String, String)> {
    let code = code();
    let defined = code.lines().filter_map(|line| line.strip_prefix("#define "));
    let constants = defined.filter_map(|line| line.split_once(' '));
    let constants = constants.filter(|(name, _)| !name.contains('(') && *name != "SIDESTEP_MUST_USE");
    constants.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
}

/// Returns the type declarations without `typedef`.
pub(crate) fn types() -> Vec<String> {
    let statements = statements().into_iter();
    statements.filter_map(|statement| statement.strip_prefix("typedef ").map(str::to_owned)).collect()
}

pub(crate) fn functions() -> Vec<Function> {
    let statements = statements().into_iter();
    statements
        .filter(|statement| !statement.starts_with("typedef ") && statement.contains('('))
        .map(|one| Function::read(&one))
        .collect()
}

impl Parameter {
    fn read(text: &str) -> Self {
        let (declared, name) = text.trim().split_at(text.trim().rfind([' ', '*']).unwrap() + 1);
        let kind = declared.replace("const ", "").replace(' ', "");
        Self { declared: declared.trim().to_owned(), kind, name: name.to_owned() }
    }
}

impl Function {
    fn read(declaration: &str) -> Self {
        let (start, list) = declaration.split_once('(').unwrap();
        let Parameter { declared: returns, name, .. } = Parameter::read(start);
        let list = list.trim_end().strip_suffix(')').unwrap();
        let parameters = list.split(',').filter(|one| one.trim() != "void").map(Parameter::read).collect();
        Self { returns, name, parameters }
    }
}
