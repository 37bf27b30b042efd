-- The facts that engines ask the store to keep, each under its natural key.
--
-- The same text runs on SQLite and on PostgreSQL, so it uses only BIGINT, TEXT and DOUBLE PRECISION.
--   *_ns                          nanoseconds since 1970-01-01T00:00:00 UTC
--   prices, quantities and money  exact decimal TEXT, for example '4810.25'; CAST(close AS NUMERIC) computes with them
--   enumerations                  their lower-case names, for example 'time' or 'bulk_normal'

CREATE TABLE instruments (
    symbol TEXT NOT NULL PRIMARY KEY,
    id BIGINT NOT NULL,
    venue TEXT NOT NULL,
    class TEXT NOT NULL,
    currency TEXT NOT NULL,
    tick TEXT NOT NULL,
    lot TEXT NOT NULL,
    multiplier TEXT NOT NULL
);

CREATE TABLE market_bars (
    instrument TEXT NOT NULL,
    unit TEXT NOT NULL,
    interval BIGINT NOT NULL,
    ts_open_ns BIGINT NOT NULL,
    ts_close_ns BIGINT NOT NULL,
    open TEXT NOT NULL,
    high TEXT NOT NULL,
    low TEXT NOT NULL,
    close TEXT NOT NULL,
    vwap TEXT,
    volume TEXT NOT NULL,
    volume_buy TEXT NOT NULL,
    volume_sell TEXT NOT NULL,
    trades BIGINT NOT NULL,
    PRIMARY KEY (instrument, unit, interval, ts_open_ns)
);

CREATE TABLE session_statistics (
    instrument TEXT NOT NULL,
    day_ns BIGINT NOT NULL,
    trades BIGINT NOT NULL,
    volume TEXT NOT NULL,
    volume_buy TEXT NOT NULL,
    volume_sell TEXT NOT NULL,
    volume_unknown TEXT NOT NULL,
    vwap TEXT NOT NULL,
    low TEXT NOT NULL,
    high TEXT NOT NULL,
    first TEXT NOT NULL,
    last TEXT NOT NULL,
    PRIMARY KEY (instrument, day_ns)
);

CREATE TABLE vpin_buckets (
    instrument TEXT NOT NULL,
    classification TEXT NOT NULL,
    ts_close_ns BIGINT NOT NULL,
    bucket BIGINT NOT NULL,
    buy DOUBLE PRECISION NOT NULL,
    sell DOUBLE PRECISION NOT NULL,
    vpin DOUBLE PRECISION,
    PRIMARY KEY (instrument, classification, ts_close_ns, bucket)
);

CREATE TABLE engine_settings (
    engine TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (engine, key)
);
