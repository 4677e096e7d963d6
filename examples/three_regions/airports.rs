//! The data: airports of the world, from a file.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::csv;

/// One row of the file.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) icao: String,
    pub(crate) iata: String,
    pub(crate) local_id: String,
    pub(crate) name: String,
    pub(crate) city: String,
    pub(crate) subdivision: String,
    pub(crate) country: String,
    pub(crate) tz: String,
    pub(crate) elevation_ft: i64,
    pub(crate) lat: f64,
    pub(crate) lon: f64,
}

/// Why the data could not be loaded.
#[derive(Debug)]
pub(crate) enum DataError {
    Read { path: PathBuf, error: std::io::Error },
    Broken { path: PathBuf, broken: csv::Broken },
    TooFew { path: PathBuf, asked: usize, found: usize },
}

impl fmt::Display for DataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, error } => write!(
                f,
                "cannot read the airports from {}: {error}\nThe file is part of the repository, not of the published \
                 crate; --data takes another one.",
                path.display()
            ),
            Self::Broken { path, broken } => {
                write!(f, "{}, line {}: {}", path.display(), broken.line, broken.what)
            }
            Self::TooFew { path, asked, found } => {
                write!(f, "{} holds {found} airports, {asked} were asked for", path.display())
            }
        }
    }
}

/// Where the data is, unless the user says otherwise.
pub(crate) fn default_path() -> PathBuf {
    let beside_the_source = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/airports.csv");
    // The program may have been carried away from where it was built.
    if beside_the_source.exists() { beside_the_source } else { PathBuf::from("data/airports.csv") }
}

/// Loads `records` airports, or all. The file is ordered by place, so a part of it is taken evenly from the whole.
pub(crate) fn load(path: &Path, records: Option<usize>) -> Result<Vec<Source>, DataError> {
    let text =
        std::fs::read_to_string(path).map_err(|error| DataError::Read { path: path.to_path_buf(), error })?;
    let all = parse(&text).map_err(|broken| DataError::Broken { path: path.to_path_buf(), broken })?;
    let asked = records.unwrap_or(all.len()).max(1);
    if asked > all.len() {
        return Err(DataError::TooFew { path: path.to_path_buf(), asked, found: all.len() });
    }
    let found = all.len();
    let is_taken = |place: usize| (place + 1) * asked / found > place * asked / found;
    Ok(all
        .into_iter()
        .enumerate()
        .filter(|(place, _)| is_taken(*place))
        .map(|(_, airport)| airport)
        .collect())
}

const COLUMNS: [&str; 11] =
    ["icao", "iata", "name", "city", "subd", "country", "elevation", "lat", "lon", "tz", "lid"];

fn parse(text: &str) -> Result<Vec<Source>, csv::Broken> {
    let mut rows = csv::rows(text)?.into_iter();
    let (line, header) = rows.next().ok_or(csv::Broken { line: 1, what: "the file is empty".to_owned() })?;
    let mut places = [0; COLUMNS.len()];
    for (place, column) in places.iter_mut().zip(COLUMNS) {
        *place = header.iter().position(|name| name == column).ok_or_else(|| csv::Broken {
            line,
            what: format!("the header does not name the column {column:?}"),
        })?;
    }
    rows.map(|(line, mut row)| {
        let broken = |what| csv::Broken { line, what };
        if row.len() != header.len() {
            return Err(broken(format!("{} fields under a header of {}", row.len(), header.len())));
        }
        let [icao, iata, name, city, subdivision, country, elevation, lat, lon, tz, local_id] =
            places.map(|place| std::mem::take(&mut row[place]));
        if icao.is_empty() {
            return Err(broken("an airport without an icao code, which is its key".to_owned()));
        }
        let number = |what: &str, text: &str, bound: f64| match text.parse::<f64>() {
            Ok(number) if number.abs() <= bound => Ok(number),
            _ => Err(broken(format!("the {what} {text:?} is no number between -{bound} and {bound}"))),
        };
        Ok(Source {
            elevation_ft: number("elevation", &elevation, 100_000.0)?.round() as i64,
            lat: number("latitude", &lat, 90.0)?,
            lon: number("longitude", &lon, 180.0)?,
            icao,
            iata,
            local_id,
            name,
            city,
            subdivision,
            country,
            tz,
        })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_of_the_repository_loads_and_a_part_of_it_is_spread_evenly() {
        let all = load(&default_path(), None).expect("the data is there");
        let part = load(&default_path(), Some(100)).expect("the data is there");
        assert_eq!((all.len(), part.len()), (28_298, 100));
        assert!(part.iter().any(|airport| airport.country == "US"));
        assert!(part.iter().any(|airport| airport.country != "US"));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let header = COLUMNS.join(",");
        let what =
            |row: &str| parse(&format!("{header}\n{row}\n")).map_err(|broken| (broken.line, broken.what));
        assert!(what("EDDF,FRA,Frankfurt,Frankfurt,Hesse,DE,364,50.03,8.57,Europe/Berlin,").is_ok());
        let (line, reason) = what("EDDF,FRA,Frankfurt,Frankfurt,Hesse,DE,364,95,8.57,Europe/Berlin,")
            .expect_err("it is beyond the pole");
        assert!(line == 2 && reason.contains("latitude"), "{reason}");
        assert!(what("EDDF,FRA").expect_err("it is short").1.contains("fields"));
        assert!(parse("icao,iata\n").expect_err("it is short").what.contains("column"));
    }
}
