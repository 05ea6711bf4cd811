//! One read of the database, and what the log says of it.

use std::fmt::Display;
use std::time::Duration;

use plait_engine::{QueryError, Reader, View};

use crate::error::Error;
use crate::request_id::RequestId;

/// How long a read waits for a database to be read anew where a file is gone.
const MORE_TIME: Duration = Duration::from_secs(5);

/// Runs `job` on what `reader` shows now. Its files may be gone where another process writes the database,
/// but what was in them is not: then it is run again on what is shown next.
pub(crate) fn read_view<T>(
    reader: &Reader,
    job: &mut impl FnMut(&View) -> Result<T, QueryError>,
) -> Result<T, QueryError> {
    let seen = reader.shown();
    match job(&reader.view()) {
        Err(QueryError::Store(error))
            if error.is_of_lost_file() && reader.wait_for_more(seen, MORE_TIME) =>
        {
            job(&reader.view())
        }
        result => result,
    }
}

/// Writes to the log what a response does not say.
pub(crate) fn logged<T>(result: Result<T, QueryError>) -> Result<T, Error> {
    let result = result.map_err(Error::from);
    if let Err(Error::Store(source)) = &result {
        let cause: &dyn std::error::Error = source;
        tracing::error!(request = %RequestId::current(), cause, "the database cannot be read");
    }
    result
}

/// Writes a bug of ours to the log.
pub(crate) fn panicked(how: &dyn Display) -> Error {
    tracing::error!(request = %RequestId::current(), "a read panicked: {how}");
    Error::Bug
}
