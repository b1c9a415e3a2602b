//! Which options hold what is not to be shown.

/// What stands for it.
pub(crate) const SECRET: &str = "***";

/// The value of an option as it may be shown.
pub(crate) fn shown(id: &str, value: &str) -> String {
    match id {
        "http_passwd" | "user" | "oauth2_bearer" | "all_proxy_passwd" => SECRET.to_owned(),
        "header" => match value.split_once(':') {
            Some((name, _)) => format!("{name}: {SECRET}"),
            None => SECRET.to_owned(),
        },
        "all_proxy" | "http_proxy" | "https_proxy" if value.contains('@') => SECRET.to_owned(),
        _ => value.to_owned(),
    }
}
