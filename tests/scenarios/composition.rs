//! Types within types: rows, fields and kinds that are written and removed apart.
