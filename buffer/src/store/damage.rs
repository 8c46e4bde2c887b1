//! What is damage in the file, as opposed to a disk that refuses: damage does not go away by trying again.

use rusqlite::{Error, ErrorCode, ffi};

/// The error of rows that do not match their checksum or each other. SQLite has not noticed, but it is the same to us.
pub(super) fn damaged(what: impl Into<String>) -> Error {
    Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_CORRUPT), Some(what.into()))
}

/// Whether an error says that the file is not what was written.
pub(crate) fn is_damage(error: &Error) -> bool {
    match error {
        Error::SqliteFailure(failure, _) => {
            let code = failure.code;
            matches!(
                code,
                ErrorCode::DatabaseCorrupt
                    | ErrorCode::NotADatabase
                    | ErrorCode::ConstraintViolation
                    | ErrorCode::TypeMismatch
                    | ErrorCode::TooBig
            ) || failure.extended_code == ffi::SQLITE_IOERR_SHORT_READ
                || failure.extended_code == ffi::SQLITE_IOERR_CORRUPTFS
        }
        Error::FromSqlConversionFailure(..)
        | Error::IntegralValueOutOfRange(..)
        | Error::InvalidColumnType(..)
        | Error::QueryReturnedNoRows
        | Error::StatementChangedRows(_)
        | Error::Utf8Error(..) => true,
        _ => false,
    }
}
