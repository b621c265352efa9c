//! URIs in logs and errors.

/// Returns the text of a URI, which may be invalid, without its user information, query and fragment, which can contain
/// passwords and tokens.
pub(crate) fn without_secrets(uri: &str) -> String {
    let (scheme, rest) = uri.find("://").map_or(("", uri), |end| uri.split_at(end + 3));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    // A password can contain any character except `/`.
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let visible = |part: &str| part.split(['?', '#']).next().unwrap_or_default().to_owned();
    let path = if host.contains(['?', '#']) { String::new() } else { visible(path) };
    format!("{scheme}{}{path}", visible(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_information_and_query_are_left_out() {
        for (uri, shown) in [
            ("http://user:hunter2@host:80/a/b?access_token=SECRET", "http://host:80/a/b"),
            ("http://us%40er@host/?email=a@b", "http://host/"),
            ("http://host?token=SECRET/SECRET", "http://host"),
            ("http://[::1]:81/#SECRET", "http://[::1]:81/"),
            ("user:p?s#@host:80", "host:80"),
            ("/path?key=SECRET", "/path"),
            ("forecast.weather:3002", "forecast.weather:3002"),
            ("", ""),
        ] {
            assert_eq!(without_secrets(uri), shown, "{uri}");
        }
    }
}
