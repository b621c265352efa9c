//! A generated program that calls every function of the header with one invalid argument at a time. It is generated from the
//! header, so that it contains every function and every argument. `tests/programs/arguments.h` defines its helpers.

use crate::declarations::{Function, Parameter, functions};

const BAD: &str = "SIDESTEP_E_BAD_HANDLE";
const INVALID: &str = "SIDESTEP_E_INVALID_ARGUMENT";
const NULL: &str = "SIDESTEP_E_NULL_POINTER";

/// Returns the source of the program.
pub(crate) fn program() -> String {
    let functions = functions();
    assert!(functions.len() > 50, "only {} functions", functions.len());
    // One C function for each function of the header, because compilers are slow for long functions.
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

impl Parameter {
    /// Returns the type of the handle, if the parameter is a handle.
    fn handle(&self) -> Option<&str> {
        let name = self.kind.strip_prefix("sidestep_")?.strip_suffix('*')?;
        (!name.ends_with('*') && name != "completion").then_some(name)
    }

    /// Returns a valid value.
    fn good(&self, function: &str) -> String {
        if let Some(handle) = self.handle() {
            return format!("live.{handle}");
        }
        match (&*self.kind, &*self.name) {
            ("sidestep_error**", _) => "ERROR".to_owned(),
            ("structaddrinfo**", _) => "(struct addrinfo **)poisoned()".to_owned(),
            (kind, _) if kind.ends_with("**") => format!("({kind})poisoned()"),
            ("char*", name) => format!("good_{name}"),
            ("int*", _) => "(outputs.fd = 7, &outputs.fd)".to_owned(),
            ("size_t*", _) => "(outputs.count = 7, &outputs.count)".to_owned(),
            ("uint64_t*", _) => "(outputs.operation = 7, &outputs.operation)".to_owned(),
            ("uint16_t*", _) => "(outputs.port = 0, &outputs.port)".to_owned(),
            ("uint8_t*", _) => "buffer".to_owned(),
            ("sidestep_completion*", _) => "&completion".to_owned(),
            ("void*" | "structaddrinfo*", _) => "NULL".to_owned(),
            ("sidestep_log_fn", _) => "take".to_owned(),
            ("size_t", _) if function == "sidestep_queue_next" => "sizeof completion".to_owned(),
            ("size_t", _) => "sizeof buffer".to_owned(),
            ("uint16_t", "local_port") => "0".to_owned(),
            ("uint16_t", _) => "3002".to_owned(),
            ("int64_t", _) => "TIMEOUT".to_owned(),
            ("int32_t", "what" | "level") => "1".to_owned(),
            _ => "0".to_owned(),
        }
    }

    /// Returns invalid values, each with the expected status.
    fn bad(&self, function: &str) -> Vec<(String, &'static str)> {
        let values = |values: &[(&str, &'static str)]| {
            values.iter().map(|(value, expected)| ((*value).to_owned(), *expected)).collect::<Vec<_>>()
        };
        if let Some(handle) = self.handle() {
            let other = if handle == "settings" { "live.mesh" } else { "live.settings" };
            let stray = ["(uintptr_t)1", "UINTPTR_MAX", "(void *)&in_data", "(void *)on_heap"];
            let mut bad: Vec<_> = stray.map(|value| (format!("(sidestep_{handle} *){value}"), BAD)).into();
            bad.push((format!("freed.{handle}"), BAD));
            bad.push((format!("(sidestep_{handle} *)(void *){other}"), "SIDESTEP_E_WRONG_HANDLE"));
            // The bridge of a DNS server is optional.
            if !function.ends_with("dns_start") || handle != "bridge" {
                bad.push(("NULL".to_owned(), NULL));
            }
            return bad;
        }
        let text = [("\"a\\xff\"", "SIDESTEP_E_INVALID_UTF8"), ("endless", INVALID)];
        match (&*self.kind, &*self.name) {
            ("sidestep_error**" | "uint64_t*" | "void*" | "structaddrinfo*", _) => Vec::new(),
            ("char*", "service") => values(&text),
            ("char*", "node") => values(&[text[0], text[1], ("NULL", INVALID)]),
            ("char*", "address") if function.ends_with("listen_local") => values(&[("NULL", NULL)]),
            ("char*", _) => values(&[text[0], text[1], ("NULL", NULL)]),
            (kind, _) if kind.ends_with('*') => values(&[("NULL", NULL)]),
            ("size_t", _) => values(&[("(size_t)-1", INVALID)]),
            ("uint16_t", "local_port") => values(&[("17", INVALID)]),
            ("uint16_t", _) => values(&[("0", "SIDESTEP_E_INVALID_TARGET")]),
            ("uint32_t", _) => values(&[("3", INVALID), ("0x80000000", INVALID), ("UINT32_MAX", INVALID)]),
            ("int", "fd") => {
                let none = "SIDESTEP_E_NOT_A_CONNECTION";
                values(&[("-1", none), ("INT_MAX", none), ("INT_MIN", none), ("0", none)])
            }
            ("int32_t", _) => {
                values(&[("-1", INVALID), ("77", INVALID), ("INT32_MAX", INVALID), ("INT32_MIN", INVALID)])
            }
            _ => Vec::new(),
        }
    }
}

impl Function {
    /// Returns a statement for each invalid value of each argument.
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
        // Functions of a status code accept every number, and `sidestep_freeaddrinfo` accepts NULL.
        if calls.is_empty() {
            let value = if self.parameters[0].kind.ends_with('*') { "NULL" } else { "-1" };
            calls.push(format!("(void){}({value});", self.name));
        }
        calls
    }

    fn call(&self, arguments: &str, expected: &str) -> String {
        let call = |error| format!("{}({})", self.name, arguments.replace("ERROR", error));
        match &*self.returns.replace("const ", "").replace(' ', "") {
            "int" if arguments.contains("ERROR") => {
                format!("LOOKUP_REFUSES({expected}, {});", call("&error"))
            }
            "sidestep_status" if arguments.contains("ERROR") => {
                let (with, without) = (call("&error"), call("NULL"));
                format!("REFUSES({expected}, {with}, {without});")
            }
            "sidestep_status" if self.name == "sidestep_error_status" => {
                format!("CHECK({} == {BAD});", call(""))
            }
            // `sidestep_..._free` accepts NULL.
            "sidestep_status" if arguments == "NULL" => format!("CHECK({} == SIDESTEP_OK);", call("")),
            "sidestep_status" => format!("CHECK({} == {expected});", call("")),
            "char*" => format!("CHECK({} == NULL);", call("")),
            "int" if self.name.ends_with("_fd") => format!("CHECK({} == -1);", call("")),
            "void" => format!("{};", call("")),
            _ => format!("CHECK({} == 0);", call("")),
        }
    }
}
