//! The two databases behind one face: connects, migrates, commits a batch, answers a question, and tells a row
//! that cannot be stored from a database that cannot store.

use std::borrow::Cow;
use std::path::Path;
use std::time::Duration;

use sqlx::error::{DatabaseError, ErrorKind};
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row as _, SqlSafeStr};

use crate::StoreError;
use crate::config::Target;
use crate::rows::{ColumnType, Placeholder, Statement, Table, Value};

/// Every migration, oldest first. Applied ones are never edited: a change is a new file and a new line.
const MIGRATIONS: &[(i64, &str, &str)] =
    &[(1, "records", include_str!("../../../migrations/0001_records.sql"))];

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long one transaction or question may take before its connection is given up.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// How long SQLite waits for another process's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// One connection writes, the others answer questions.
const CONNECTIONS: u32 = 4;

/// A pool of connections to one database.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    pool: AnyPool,
    url: String,
}

#[derive(Debug, Clone)]
enum AnyPool {
    Sqlite { pool: SqlitePool, path: String },
    Postgres(PgPool),
}

/// Runs the same code on either pool: sqlx's types differ, the calls do not.
macro_rules! on_pool {
    ($database:expr, $pool:ident => $body:expr) => {
        match &$database.pool {
            AnyPool::Sqlite { pool: $pool, .. } => $body,
            AnyPool::Postgres($pool) => $body,
        }
    };
}

/// Why a batch was not committed.
#[derive(Debug)]
pub(crate) enum CommitError {
    /// One of its rows cannot be stored, whenever it is tried.
    Row(String),
    /// The database cannot store at present.
    Down(String),
}

impl Database {
    /// Prepares a pool; no connection is made yet.
    pub(crate) fn new(target: Target, url: String) -> Result<Self, StoreError> {
        let pool = match target {
            Target::Sqlite(path) => {
                create_folder(&path)?;
                let options = SqliteConnectOptions::new()
                    .filename(&path)
                    .create_if_missing(true)
                    .journal_mode(SqliteJournalMode::Wal)
                    .synchronous(SqliteSynchronous::Normal)
                    .busy_timeout(BUSY_TIMEOUT)
                    .disable_statement_logging();
                let pool = SqlitePoolOptions::new()
                    .max_connections(CONNECTIONS)
                    .acquire_timeout(ANSWER_TIMEOUT)
                    .connect_lazy_with(options);
                AnyPool::Sqlite { pool, path: path.display().to_string() }
            }
            Target::Postgres(options) => {
                let options = options.application_name("nautilus").disable_statement_logging();
                let pool = PgPoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(CONNECT_TIMEOUT);
                AnyPool::Postgres(pool.connect_lazy_with(options))
            }
        };
        Ok(Self { pool, url })
    }

    /// Connects, checks that the database may be written, and applies the migrations that are missing.
    pub(crate) async fn prepare(&self) -> Result<(), StoreError> {
        let migrate = async {
            match &self.pool {
                AnyPool::Sqlite { pool, .. } => migrate_sqlite(pool).await,
                AnyPool::Postgres(pool) => migrate_postgres(pool).await,
            }
        };
        match tokio::time::timeout(ANSWER_TIMEOUT, migrate).await {
            Ok(result) => result.map_err(|error| self.explain(&error)),
            Err(_) => Err(StoreError::Down { reason: self.silent() }),
        }
    }

    /// Writes every statement in one transaction, or none.
    pub(crate) async fn commit(&self, statements: &[Statement]) -> Result<(), CommitError> {
        on_pool!(self, pool => {
            let mut connection = pool.acquire().await.map_err(|error| self.commit_error(&error))?;
            let transaction = async {
                let mut transaction = connection.begin().await?;
                for statement in statements {
                    let mut query = sqlx::query(AssertSqlSafe(statement.sql.as_str()));
                    for argument in &statement.arguments {
                        query = match argument {
                            Value::BigInt(value) => query.bind(*value),
                            Value::Double(bits) => query.bind(bits.map(f64::from_bits)),
                            Value::Text(text) => query.bind(text.as_deref()),
                        };
                    }
                    query.execute(&mut *transaction).await?;
                }
                transaction.commit().await
            };
            let result = match tokio::time::timeout(ANSWER_TIMEOUT, transaction).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => self.commit_error(&error),
                Err(_) => CommitError::Down(self.silent()),
            };
            if matches!(result, CommitError::Down(_)) {
                // Whatever state this connection is in, the next try begins with a new one.
                drop(connection.detach());
            }
            Err(result)
        })
    }

    /// Every row of a question, each with all columns of `table`.
    pub(crate) async fn fetch(
        &self,
        table: &'static Table,
        sql: String,
        arguments: Vec<Value>,
    ) -> Result<Vec<Vec<Value>>, StoreError> {
        let rows = async {
            on_pool!(self, pool => {
                let mut query = sqlx::query(AssertSqlSafe(sql));
                for argument in arguments {
                    query = match argument {
                        Value::BigInt(value) => query.bind(value),
                        Value::Double(bits) => query.bind(bits.map(f64::from_bits)),
                        Value::Text(text) => query.bind(text),
                    };
                }
                let rows = query.fetch_all(pool).await?;
                rows.iter().map(|row| {
                    let column = |(index, (_, kind)): (usize, &(&str, ColumnType))| Ok(match kind {
                        ColumnType::BigInt => Value::BigInt(row.try_get(index)?),
                        ColumnType::Double => Value::Double(row.try_get::<Option<f64>, _>(index)?.map(f64::to_bits)),
                        ColumnType::Text => Value::Text(row.try_get(index)?),
                    });
                    table.columns.iter().enumerate().map(column).collect()
                }).collect::<Result<_, sqlx::Error>>()
            })
        };
        match tokio::time::timeout(ANSWER_TIMEOUT, rows).await {
            Ok(Ok(rows)) => Ok(rows),
            Ok(Err(error)) => Err(StoreError::Down { reason: self.reason(&error) }),
            Err(_) => Err(StoreError::Down { reason: self.silent() }),
        }
    }

    /// Whether the database answers and its tables are there.
    pub(crate) async fn ping(&self) -> Result<(), String> {
        let question = async {
            on_pool!(self, pool => {
                sqlx::query("SELECT 1 FROM engine_settings LIMIT 1").execute(pool).await.map(|_| ())
            })
        };
        match tokio::time::timeout(ANSWER_TIMEOUT, question).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.reason(&error)),
            Err(_) => Err(self.silent()),
        }
    }

    pub(crate) async fn close(&self) {
        on_pool!(self, pool => pool.close().await);
    }

    fn silent(&self) -> String {
        format!("'{}' did not answer within {} seconds", self.url, ANSWER_TIMEOUT.as_secs())
    }

    fn reason(&self, error: &sqlx::Error) -> String {
        match error {
            sqlx::Error::PoolTimedOut => {
                format!("'{}' gave no connection within {} seconds", self.url, CONNECT_TIMEOUT.as_secs())
            }
            sqlx::Error::Database(error) => format!("'{}' says: {}", self.url, error.message()),
            error => format!("'{}' failed: {error}", self.url),
        }
    }

    fn commit_error(&self, error: &sqlx::Error) -> CommitError {
        let of_row = match error {
            sqlx::Error::Database(database) => is_row_error(database.as_ref(), self.is_postgres()),
            sqlx::Error::Encode(_) => true,
            _ => false,
        };
        if of_row { CommitError::Row(error.to_string()) } else { CommitError::Down(self.reason(error)) }
    }

    /// How statements with many arguments name them.
    pub(crate) fn placeholder(&self) -> Placeholder {
        if self.is_postgres() { Placeholder::Numbered } else { Placeholder::Nameless }
    }

    fn is_postgres(&self) -> bool {
        matches!(self.pool, AnyPool::Postgres(_))
    }

    /// What a failed start means to whoever starts the platform.
    fn explain(&self, error: &MigrateError) -> StoreError {
        let url = self.url.clone();
        let known = MIGRATIONS.len();
        let schema = |reason| StoreError::Schema { url: url.clone(), reason };
        match error {
            MigrateError::VersionMissing(found) => {
                schema(format!("it has migration {found}, this build knows 1 to {known}"))
            }
            MigrateError::VersionMismatch(version) => {
                schema(format!("migration {version} was applied with another text"))
            }
            MigrateError::Dirty(version) => schema(format!("migration {version} was applied in part")),
            MigrateError::ExecuteMigration(error, version) if !self.is_down(error) => {
                schema(format!("migration {version} failed: {}", self.reason(error)))
            }
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
                self.explain_sql(error)
            }
            error => schema(error.to_string()),
        }
    }

    fn explain_sql(&self, error: &sqlx::Error) -> StoreError {
        match &self.pool {
            AnyPool::Sqlite { path, .. } => {
                let reason = match error {
                    sqlx::Error::Database(error) => error.message().to_owned(),
                    error => error.to_string(),
                };
                StoreError::File { path: path.clone(), reason }
            }
            AnyPool::Postgres(_) if self.is_down(error) => StoreError::Down { reason: self.reason(error) },
            AnyPool::Postgres(_) => StoreError::Refused { url: self.url.clone(), reason: self.reason(error) },
        }
    }

    /// Whether waiting may help: no answer, or an answer that the server cannot serve now.
    fn is_down(&self, error: &sqlx::Error) -> bool {
        match error {
            sqlx::Error::Database(error) => {
                // 08 connection, 53 resources, 57 operator intervention (starting up, shutting down), 58 system.
                let code = error.code().unwrap_or(Cow::Borrowed(""));
                self.is_postgres() && ["08", "53", "57", "58"].iter().any(|class| code.starts_with(class))
            }
            sqlx::Error::Configuration(_) | sqlx::Error::Tls(_) => false,
            _ => self.is_postgres(),
        }
    }
}

fn create_folder(path: &Path) -> Result<(), StoreError> {
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) else { return Ok(()) };
    std::fs::create_dir_all(folder).map_err(|error| StoreError::File {
        path: path.display().to_string(),
        reason: format!("its folder cannot be created: {error}"),
    })
}

/// Whether the row is at fault: a constraint, or a value that the column's type cannot hold.
fn is_row_error(error: &dyn DatabaseError, postgres: bool) -> bool {
    if !matches!(error.kind(), ErrorKind::Other) {
        return true;
    }
    let code = error.code().unwrap_or(Cow::Borrowed(""));
    if postgres {
        // 22 data exception, 23 integrity constraint violation.
        return code.starts_with("22") || code.starts_with("23");
    }
    // SQLITE_TOOBIG, SQLITE_CONSTRAINT, SQLITE_MISMATCH; the low byte of an extended code is the primary code.
    matches!(code.parse::<u32>().map(|code| code & 0xFF), Ok(18..=20))
}

fn migrator() -> Migrator {
    let migration = |&(version, name, sql): &(i64, &'static str, &'static str)| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(MIGRATIONS.iter().map(migration).collect())
}

/// SQLite has no lock across a whole migration, nor does its busy timeout cover the change to write-ahead logging,
/// so processes that start at once may collide: the one that loses tries again, until the caller's patience ends.
async fn migrate_sqlite(pool: &SqlitePool) -> Result<(), MigrateError> {
    let (mut tries, mut met) = (0, 0);
    loop {
        let result = try_migrate_sqlite(pool).await;
        match &result {
            Err(MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _))
                if is_busy(error) => {}
            // Not locked, but the other's work met in the middle: its tables are there when we look again.
            Err(MigrateError::ExecuteMigration(..)) if met < 5 => met += 1,
            _ => return result,
        }
        tries += 1;
        tokio::time::sleep(Duration::from_millis(50 * tries.min(10))).await;
    }
}

async fn try_migrate_sqlite(pool: &SqlitePool) -> Result<(), MigrateError> {
    // Refused at once when the file may only be read.
    let probe = pool.begin_with("BEGIN IMMEDIATE").await.map_err(MigrateError::Execute)?;
    probe.rollback().await.map_err(MigrateError::Execute)?;
    migrator().run(pool).await
}

/// `SQLITE_BUSY` or `SQLITE_LOCKED`: another connection holds what this one needs.
fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code);
    matches!(code.and_then(|code| code.parse::<u32>().ok()).map(|code| code & 0xFF), Some(5 | 6))
}

/// On a connection of its own: closing it releases the advisory lock that a failed migrator leaves behind, and
/// the reason for no connection is the system's, where a pool would only say that it waited.
async fn migrate_postgres(pool: &PgPool) -> Result<(), MigrateError> {
    let options = pool.connect_options();
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, options.connect()).await;
    let mut connection = connected.map_err(|_| sqlx::Error::PoolTimedOut)??;
    migrator().run_direct(None, &mut connection, false).await?;
    Ok(connection.close().await?)
}
