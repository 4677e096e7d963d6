//! Each contestant does every row that it claims, on few documents, and reads what it must.

use crate::contestant::Contestant;
use crate::report::Report;
use crate::rows::{Line, Plan, Row};
use crate::{CONTESTANTS, options};

/// The lines that a contestant does not do.
fn missing(contestant: &dyn Contestant) -> &'static [Line] {
    match contestant.name() {
        "plain" => &[Line::Regions],
        "yrs" => &[Line::Snapshot],
        _ => &[],
    }
}

fn does_all(name: &str) {
    let contestant =
        CONTESTANTS.into_iter().find(|contestant| contestant.name() == name).expect("it is listed");
    let plan = Plan { documents: 200, contestants: vec![contestant], rows: Row::ALL.to_vec() };
    let mut report = Report::silent();
    plan.run(&mut report);
    assert_eq!(report.failed(), &[] as &[String]);
    for line in Line::ALL {
        let is_missing = missing(contestant).contains(&line);
        let figure = report.figure(line, name);
        assert_eq!(figure.is_none(), is_missing, "{line:?}");
        assert!(figure.is_none_or(f64::is_finite), "{line:?}");
        assert!(!is_missing || contestant.note(line.row()).is_some(), "a dash without a reason: {line:?}");
    }
    assert!(report.markdown(&plan).contains(name));
    assert_eq!(report.json(&plan)["documents"], 200);
}

#[test]
fn driftless_does_all() {
    does_all("driftless");
}

#[test]
fn plain_does_all() {
    does_all("plain");
}

#[test]
fn lww_does_all() {
    does_all("lww");
}

#[test]
fn crdts_does_all() {
    does_all("crdts");
}

#[test]
fn yrs_does_all() {
    does_all("yrs");
}

#[test]
fn loro_does_all() {
    does_all("loro");
}

#[test]
fn automerge_does_all() {
    does_all("automerge");
}

#[test]
fn dson_does_all() {
    does_all("dson");
}

#[test]
fn options_choose_contestants_and_rows() {
    let given = |list: &[&str]| options(list.iter().map(|text| (*text).to_owned()));
    let chosen = given(&["--contestants", "yrs,plain", "--rows", "read", "--documents", "2000"])
        .expect("they are known");
    let names: Vec<_> = chosen.plan.contestants.iter().map(|contestant| contestant.name()).collect();
    assert_eq!(
        (names, chosen.plan.rows, chosen.plan.documents),
        (vec!["plain", "yrs"], vec![Row::Read], 2_000)
    );
    assert!(given(&["--contestants", "nobody"]).is_err());
    assert!(given(&["--documents"]).is_err());
    assert!(given(&["--sideways", "1"]).is_err());
}
