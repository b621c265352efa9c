//! A program that calls every function of the header with one bad argument at a time: made from the header itself, so that no
//! function and no argument is forgotten. What is around the calls is `tests/programs/arguments.h`.

use std::fs;

use crate::library::manifest_dir;

const BAD: &str = "SIDESTEP_BAD_HANDLE";
const INVALID: &str = "SIDESTEP_INVALID_ARGUMENT";
const NULL: &str = "SIDESTEP_NULL_POINTER";

struct Function {
    returns: String,
    name: String,
    parameters: Vec<Parameter>,
}

struct Parameter {
    /// Without `const` and spaces.
    kind: String,
    name: String,
}

/// The program's source.
pub(crate) fn program() -> String {
    let functions = functions();
    assert!(functions.len() > 50, "only {} functions", functions.len());
    // A function of its own for each: compilers take their time for long ones.
    let (mut each, mut all) = (String::new(), String::new());
    for function in functions {
        let (name, calls) = (&function.name, function.calls());
        assert!(!each.contains(&format!("call_{name}(")), "{name} is declared twice");
        assert!(!calls.is_empty(), "{name} is not called");
        let calls = calls.iter().map(|call| format!("    {call}\n")).collect::<String>();
        each += &format!("static void call_{name}(void) {{\n{calls}}}\n\n");
        all += &format!("    call_{name}();\n");
    }
    format!(
        "#include \"arguments.h\"\n\n{each}int main(int count, char **arguments) {{\n    CHECK(count == 4);\n    \
         begin(arguments);\n{all}    end();\n    return 0;\n}}\n"
    )
}

/// What the header declares.
fn functions() -> Vec<Function> {
    let header = fs::read_to_string(manifest_dir().join("include/sidestep.h")).unwrap();
    let code: String = header.split("*/").map(|part| part.split("/*").next().unwrap()).collect();
    let code: Vec<_> = code.lines().filter(|line| !line.starts_with(['#', 't'])).collect();
    let code = code.join(" ").replace("extern \"C\" {", "");
    code.split(';').filter(|part| part.contains('(')).map(Function::read).collect()
}

impl Parameter {
    fn read(text: &str) -> Self {
        let text = text.replace("const ", "");
        let (kind, name) = text.trim().rsplit_once([' ', '*']).unwrap();
        let stars = "*".repeat(text.matches('*').count());
        Self { kind: format!("{}{stars}", kind.replace(['*', ' '], "")), name: name.to_owned() }
    }

    /// Which handle it is.
    fn handle(&self) -> Option<&str> {
        let name = self.kind.strip_prefix("sidestep_")?.strip_suffix('*')?;
        (!name.ends_with('*') && name != "completion").then_some(name)
    }

    /// Something that it may be.
    fn good(&self, function: &str) -> String {
        if let Some(handle) = self.handle() {
            return format!("live.{handle}");
        }
        match (&*self.kind, &*self.name) {
            ("sidestep_error**", _) => "ERROR".to_owned(),
            ("structaddrinfo**", _) => "(struct addrinfo **)poisoned()".to_owned(),
            (kind, _) if kind.ends_with("**") => format!("({kind})poisoned()"),
            ("char*", name) => format!("good_{name}"),
            ("int32_t*", _) => "(told.fd = 7, &told.fd)".to_owned(),
            ("size_t*", _) => "(told.count = 7, &told.count)".to_owned(),
            ("uint64_t*", _) => "(told.operation = 7, &told.operation)".to_owned(),
            ("uint16_t*", _) => "(told.port = 0, &told.port)".to_owned(),
            ("uint8_t*", _) => "buffer".to_owned(),
            ("sidestep_completion*", _) => "&completion".to_owned(),
            ("void*" | "structaddrinfo*", _) => "NULL".to_owned(),
            ("sidestep_log_fn", _) => "take".to_owned(),
            ("size_t", _) if function == "sidestep_queue_next" => "sizeof completion".to_owned(),
            ("size_t", _) => "sizeof buffer".to_owned(),
            ("uint16_t", _) => "3002".to_owned(),
            ("int64_t", _) => "PATIENCE".to_owned(),
            ("int32_t", "what" | "level") => "1".to_owned(),
            _ => "0".to_owned(),
        }
    }

    /// What it must not be, and what comes of it.
    fn bad(&self, function: &str) -> Vec<(String, &'static str)> {
        let values = |values: &[(&str, &'static str)]| {
            values.iter().map(|(value, expected)| ((*value).to_owned(), *expected)).collect::<Vec<_>>()
        };
        if let Some(handle) = self.handle() {
            let other = if handle == "settings" { "live.mesh" } else { "live.settings" };
            let stray = ["(uintptr_t)1", "UINTPTR_MAX", "(void *)&in_data", "(void *)on_heap"];
            let mut bad: Vec<_> = stray.map(|value| (format!("(sidestep_{handle} *){value}"), BAD)).into();
            bad.push((format!("freed.{handle}"), BAD));
            bad.push((format!("(sidestep_{handle} *)(void *){other}"), "SIDESTEP_WRONG_HANDLE"));
            // What a DNS server may do without.
            if function != "sidestep_dns_start" || handle != "bridge" {
                bad.push(("NULL".to_owned(), NULL));
            }
            return bad;
        }
        let text = [("\"a\\xff\"", "SIDESTEP_INVALID_UTF8"), ("endless", INVALID)];
        match (&*self.kind, &*self.name) {
            ("sidestep_error**" | "uint64_t*" | "void*" | "structaddrinfo*", _) => Vec::new(),
            ("char*", "service") => values(&text),
            ("char*", "node") => values(&[text[0], text[1], ("NULL", INVALID)]),
            ("char*", "address") if function.ends_with("listen_local") => values(&[("NULL", NULL)]),
            ("char*", _) => values(&[text[0], text[1], ("NULL", NULL)]),
            (kind, _) if kind.ends_with('*') => values(&[("NULL", NULL)]),
            ("size_t", _) => values(&[("(size_t)-1", INVALID)]),
            ("uint16_t", _) => values(&[("0", "SIDESTEP_INVALID_TARGET")]),
            ("uint32_t", _) => values(&[("3", INVALID), ("0x80000000", INVALID), ("UINT32_MAX", INVALID)]),
            ("int32_t", "fd") => {
                let none = "SIDESTEP_NOT_A_CONNECTION";
                values(&[("-1", none), ("INT32_MAX", none), ("INT32_MIN", none), ("0", none)])
            }
            ("int32_t", _) => {
                values(&[("-1", INVALID), ("77", INVALID), ("INT32_MAX", INVALID), ("INT32_MIN", INVALID)])
            }
            _ => Vec::new(),
        }
    }
}

impl Function {
    fn read(declaration: &str) -> Self {
        let (start, list) = declaration.split_once('(').unwrap();
        let Parameter { kind: returns, name } = Parameter::read(start);
        let list = list.trim_end().strip_suffix(')').unwrap();
        let parameters = list.split(',').filter(|one| one.trim() != "void").map(Parameter::read).collect();
        Self { returns, name, parameters }
    }

    /// One call, or two, for each argument and each thing that it must not be.
    fn calls(&self) -> Vec<String> {
        if self.parameters.is_empty() {
            return vec![format!("CHECK({}());", self.name)];
        }
        let mut calls = Vec::new();
        for (at, parameter) in self.parameters.iter().enumerate() {
            for (value, expected) in parameter.bad(&self.name) {
                let mut arguments: Vec<_> = self.parameters.iter().map(|one| one.good(&self.name)).collect();
                arguments[at] = value;
                calls.push(self.call(&arguments.join(", "), expected));
            }
        }
        // What takes a number and no pointer.
        if calls.is_empty() {
            calls.push(format!(
                "(void){}({});",
                self.name,
                self.parameters[0].bad(&self.name).first().map_or("0", |_| "77")
            ));
        }
        calls
    }

    fn call(&self, arguments: &str, expected: &str) -> String {
        let call = |error| format!("{}({})", self.name, arguments.replace("ERROR", error));
        match &*self.returns {
            "int" if arguments.contains("ERROR") => {
                format!("LOOKUP_REFUSES({expected}, {});", call("&error"))
            }
            "sidestep_status" if arguments.contains("ERROR") => {
                let (with, without) = (call("&error"), call("NULL"));
                format!("REFUSES({expected}, {with}, {without});")
            }
            "sidestep_status" if self.name == "sidestep_error_code" => {
                format!("CHECK({} == {BAD});", call(""))
            }
            // NULL is nothing to free.
            "sidestep_status" if arguments == "NULL" => format!("CHECK({} == SIDESTEP_OK);", call("")),
            "sidestep_status" => format!("CHECK({} == {expected});", call("")),
            "char*" => format!("CHECK({} == NULL);", call("")),
            "int32_t" => format!("CHECK({} == -1);", call("")),
            "void" => format!("{};", call("")),
            _ => format!("CHECK({} == 0);", call("")),
        }
    }
}
