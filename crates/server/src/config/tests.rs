use super::*;

fn environment(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn resolve(flags: &[(&'static str, &str)], variables: &[(&str, &str)]) -> Result<Config, Error> {
    let flags = flags.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Config::resolve(Mode::Serve, flags, environment(variables))
}

fn refusal(flags: &[(&'static str, &str)], variables: &[(&str, &str)]) -> String {
    resolve(flags, variables).expect_err("the settings are wrong").to_string()
}

fn file(text: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let path = folder.path().join("campanile.toml");
    std::fs::write(&path, text).expect("the folder takes files");
    let path = path.to_str().expect("temporary folders have plain names").to_owned();
    (folder, path)
}

#[test]
fn nothing_given_means_the_defaults_of_the_contract() {
    let config = resolve(&[], &[]).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.admin_listen.to_string(), "127.0.0.1:9180");
    assert_eq!(config.public_endpoint, None);
    assert_eq!(config.data, Data::Folder(PathBuf::from("./campanile-data")));
    assert_eq!((config.region.as_str(), config.account_id.as_str()), ("us-east-1", "000000000000"));
    assert!(config.credential.is_none());
    assert_eq!((config.log_format, config.log_level), (LogFormat::Text, LevelFilter::INFO));
}

#[test]
fn a_flag_beats_a_variable_beats_the_file() {
    let (_folder, path) =
        file("region = 'eu-a-1'\naccount-id = '111111111111'\nlog-level = 'warn'");
    let flags = [("region", "eu-c-1"), ("config", path.as_str())];
    let variables = [("CAMPANILE_REGION", "eu-b-1"), ("CAMPANILE_ACCOUNT_ID", "222222222222")];
    let config = resolve(&flags, &variables).unwrap();
    assert_eq!(config.region, "eu-c-1");
    assert_eq!(config.account_id, "222222222222");
    assert_eq!(config.log_level, LevelFilter::WARN);
}

#[test]
fn the_file_may_be_named_by_a_variable_and_hold_numbers() {
    let (_folder, path) = file("account-id = 123456789012\ndata-dir = ':memory:'");
    let config = resolve(&[], &[("CAMPANILE_CONFIG", &path)]).unwrap();
    assert_eq!(config.account_id, "123456789012");
    assert_eq!(config.data, Data::Memory);
}

#[test]
fn a_wrong_value_names_its_place() {
    assert_eq!(
        refusal(&[("listen", "8080")], &[]),
        "--listen: 8080 is not an address like 127.0.0.1:8080"
    );
    let line = refusal(&[], &[("CAMPANILE_ACCOUNT_ID", "12")]);
    assert_eq!(line, "CAMPANILE_ACCOUNT_ID: 12 is not an account of 12 digits");
    let (_folder, path) = file("log-format = 'xml'");
    let line = refusal(&[("config", &path)], &[]);
    assert_eq!(line, format!("log-format (in {path}): xml is neither text nor json"));
    assert!(refusal(&[("region", "US East")], &[]).starts_with("--region: "));
    assert!(refusal(&[("data-dir", "")], &[]).starts_with("--data-dir: "));
}

#[test]
fn an_unknown_key_or_a_broken_file_is_one_line() {
    for text in ["lissten = 'x'", "config = 'x'", "= 3", "listen = ", "[data-dir]", "region = []"] {
        let (_folder, path) = file(text);
        let line = refusal(&[("config", &path)], &[]);
        assert!(line.starts_with(&format!("--config {path}: ")), "{line}");
        assert!(!line.contains('\n'), "{line}");
    }
    assert!(refusal(&[("config", "/nowhere/c.toml")], &[]).contains("No such file"));
}

#[test]
fn unknown_variables_are_kept_for_one_warning_and_empty_ones_are_unset() {
    let variables = [
        ("CAMPANILE_REGIN", "x"),
        ("CAMPANILE_region", "x"),
        ("CAMPANILE_DATABASE_URL", ""),
        ("CAMPANILE_ACCESS_KEY_ID", ""),
        ("PATH", "x"),
    ];
    let config = resolve(&[], &variables).unwrap();
    assert_eq!(config.unknown_variables, ["CAMPANILE_REGIN", "CAMPANILE_region"]);
    assert_eq!(config.region, "us-east-1");
    assert!(config.credential.is_none());
}

#[test]
fn a_shared_database_needs_the_root_credential() {
    let url = ("database-url", "postgres://campanile:hidden@db/campanile");
    assert_eq!(
        refusal(&[url], &[]),
        "--database-url needs CAMPANILE_ACCESS_KEY_ID and CAMPANILE_SECRET_ACCESS_KEY, the same on \
         every node"
    );
    let pair = [("CAMPANILE_ACCESS_KEY_ID", "test"), ("CAMPANILE_SECRET_ACCESS_KEY", "test")];
    let flags = [url, ("data-dir", "somewhere"), ("database-ca", "ca.pem")];
    let config = resolve(&flags, &pair).unwrap();
    assert_eq!(config.data, Data::Folder(PathBuf::from("somewhere")));
    let database = config.database.expect("was given");
    assert_eq!(database.engine().url, url.1);
    assert_eq!(database.engine().ca, Some(PathBuf::from("ca.pem")));
    assert!(!format!("{database:?}").contains("hidden"));
}

#[test]
fn files_for_a_database_that_is_not_given_are_refused() {
    for name in ["database-ca", "database-client-cert", "database-client-key"] {
        let line = refusal(&[(name, "x.pem")], &[]);
        assert_eq!(line, format!("--{name} means nothing without --database-url"));
    }
    assert!(resolve(&[], &[]).unwrap().database.is_none());
}

#[test]
fn half_a_credential_is_refused() {
    assert_eq!(
        refusal(&[], &[("CAMPANILE_ACCESS_KEY_ID", "test")]),
        "CAMPANILE_ACCESS_KEY_ID is set without CAMPANILE_SECRET_ACCESS_KEY: give both or none"
    );
    assert!(refusal(&[], &[("CAMPANILE_SECRET_ACCESS_KEY", "test")]).ends_with("both or none"));
    let pair = [("CAMPANILE_ACCESS_KEY_ID", "test"), ("CAMPANILE_SECRET_ACCESS_KEY", "test")];
    assert!(resolve(&[], &pair).unwrap().credential.is_some());
}

fn quota(config: &Config, name: &str) -> i64 {
    let mut quotas = config.quotas.list();
    quotas.find(|quota| quota.name == name).expect("there is such a quota").max
}

#[test]
fn each_quota_is_a_setting_of_its_own() {
    let text = "[quota]\nchannels = 1\nmoderators = '2'\nflows = 3";
    let (_folder, path) = file(text);
    let flags = [("quota", "channels=10,users=20"), ("config", path.as_str())];
    let config = resolve(&flags, &[("CAMPANILE_QUOTA", "channels=100, moderators=200")]).unwrap();
    let values = ["channels", "users", "moderators", "flows", "memberships"];
    assert_eq!(values.map(|name| quota(&config, name)), [10, 20, 200, 3, 10_000]);
}

#[test]
fn a_quota_that_makes_no_sense_names_its_place() {
    for (value, problem) in [
        ("channels", "channels is not NAME=VALUE"),
        ("channels=x", "channels: x is not a count"),
        ("channels=-1", "-1 is not a count from 0 to 1000000000000"),
        ("rooms=1", "rooms is not a quota"),
        ("channels=1,", " is not NAME=VALUE"),
    ] {
        let line = refusal(&[("quota", value)], &[]);
        assert!(line.starts_with(&format!("--quota: {problem}")), "{line}");
        assert!(refusal(&[], &[("CAMPANILE_QUOTA", value)]).starts_with("CAMPANILE_QUOTA: "));
    }
    let (_folder, path) = file("[quota]\nchannels = [3]");
    assert!(
        refusal(&[("config", &path)], &[]).starts_with(&format!("quota (in {path}): channels"))
    );
}

#[test]
fn connections_and_requests_are_counts_above_zero() {
    let config = resolve(&[], &[]).unwrap();
    assert_eq!((config.connections_max, config.requests_max), (65_536, 1_024));
    let config = resolve(&[("max-connections", "1"), ("max-requests", "2")], &[]).unwrap();
    assert_eq!((config.connections_max, config.requests_max), (1, 2));
    for name in ["max-connections", "max-requests"] {
        for value in ["0", "-1", "x", "1000001", ""] {
            let line = refusal(&[(name, value)], &[]);
            assert_eq!(line, format!("--{name}: {value} is not a count from 1 to 1000000"));
        }
    }
}

#[test]
fn request_rates_are_limited_by_a_switch() {
    let unlimited = chat::Quotas::default();
    let mut limited = unlimited.clone();
    limited.limit_rates();
    let quotas = |flags: &[(&'static str, &str)]| resolve(flags, &[]).unwrap().quotas;
    assert_eq!(quotas(&[]), unlimited);
    assert_eq!(quotas(&[("aws-quotas", "false")]), unlimited);
    assert_eq!(quotas(&[("aws-quotas", "true")]), limited);
    let (_folder, path) = file("aws-quotas = true");
    assert_eq!(quotas(&[("config", &path)]), limited);
    assert_eq!(quotas(&[("config", &path), ("aws-quotas", "false")]), unlimited);
    assert_eq!(refusal(&[("aws-quotas", "on")], &[]), "--aws-quotas: on is neither true nor false");
}

fn dev(flags: &[(&'static str, &str)], variables: &[(&str, &str)]) -> Result<Config, Error> {
    let flags = flags.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Config::resolve(Mode::Dev, flags, environment(variables))
}

#[test]
fn dev_needs_no_setting() {
    use crate::tls::Source;

    let config = dev(&[], &[]).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.data, Data::Memory);
    assert!(config.database.is_none());
    let exports = config.credential.unwrap().to_exports();
    assert_eq!(exports, "export AWS_ACCESS_KEY_ID=test\nexport AWS_SECRET_ACCESS_KEY=test\n");
    let tls = config.tls.unwrap();
    assert_eq!(tls.listen.to_string(), "127.0.0.1:8443");
    assert_eq!((tls.source, tls.any_port_will_do), (Source::OfThisRun, true));
}

#[test]
fn dev_takes_settings_that_stay_within_its_bounds() {
    use crate::tls::Source;

    let pair = [("CAMPANILE_ACCESS_KEY_ID", "mine"), ("CAMPANILE_SECRET_ACCESS_KEY", "secret")];
    let flags = [("data-dir", ":memory:"), ("listen", "[::1]:0"), ("tls-listen", "127.0.0.2:1")];
    let config = dev(&flags, &pair).unwrap();
    assert!(config.credential.unwrap().to_exports().contains("mine"));
    let tls = config.tls.unwrap();
    assert_eq!((tls.listen.to_string().as_str(), tls.any_port_will_do), ("127.0.0.2:1", false));
    assert!(dev(&[("tls-listen", "off")], &[]).unwrap().tls.is_none());
    assert!(dev(&[("tls-self-signed", "false")], &[]).unwrap().tls.is_none());
    let files = [("tls-cert", "chain.pem"), ("tls-key", "key.pem")];
    let given = dev(&files, &[]).unwrap().tls.unwrap();
    assert!(matches!(given.source, Source::Files { .. }));
}

#[test]
fn dev_stays_on_loopback_and_in_memory() {
    for name in ["listen", "admin-listen", "tls-listen"] {
        for address in ["0.0.0.0:8080", "[::]:1", "192.0.2.1:1"] {
            let line = dev(&[(name, address)], &[]).unwrap_err().to_string();
            assert_eq!(line, format!("--{name}: dev listens on loopback only, not on {address}"));
        }
    }
    let line = dev(&[("data-dir", "folder")], &[]).unwrap_err().to_string();
    assert_eq!(line, "--data-dir: dev keeps everything in memory: leave it out or say :memory:");
    let line = dev(&[("database-url", "postgres://x")], &[]).unwrap_err().to_string();
    assert_eq!(line, "dev keeps everything in memory: leave --database-url out");
    assert!(refusal(&[("tls-listen", "off")], &[]).contains("needs a certificate"));
}
