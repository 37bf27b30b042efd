//! A matrix as an Arrow IPC stream, and who gets one.

use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampNanosecondArray, UInt64Array};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema, TimeUnit};
use axum::http::{HeaderMap, StatusCode, header};
use nautilus_engine_features::Vector;
use nautilus_service::Problem;

use crate::shapes::{BarAsOf, Matrix, digest};

/// What Arrow streams are called.
pub(crate) const MEDIA: &str = "application/vnd.apache.arrow.stream";

/// Whether the asker wants Arrow rather than JSON.
///
/// # Errors
/// 406 where neither is acceptable.
pub(crate) fn wanted(headers: &HeaderMap) -> Result<bool, Problem> {
    let accepted: Vec<&str> =
        headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let ranges = || accepted.iter().flat_map(|value| value.split(',')).filter_map(range);
    // What is named more exactly counts, as RFC 9110 says.
    let quality = |names: &[&str]| {
        names.iter().find_map(|name| ranges().find(|(range, _)| range.eq_ignore_ascii_case(name)))
    };
    let any = ["application/*", "*/*"];
    let of = |media| quality(&[media, any[0], any[1]]).map_or(0.0, |(_, quality)| quality);
    let (json, arrow) = (of("application/json"), of(MEDIA));
    // Arrow has to be asked for: who takes anything gets JSON.
    let named = quality(&[MEDIA]).is_some();
    if ranges().next().is_none() || (json > 0.0 && !(named && arrow >= json)) {
        return Ok(false);
    }
    if arrow > 0.0 {
        return Ok(true);
    }
    let detail = format!("the answer is application/json or {MEDIA}; accept one of them");
    Err(Problem::new(StatusCode::NOT_ACCEPTABLE, "not_acceptable", detail))
}

/// A media range and its quality.
fn range(text: &str) -> Option<(&str, f64)> {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().filter(|name| !name.is_empty())?;
    let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    Some((name, weight.map_or(Some(1.0), |weight| weight.parse().ok())?))
}

/// A matrix as one record batch.
///
/// # Errors
/// When Arrow refuses, which a matrix of equal columns never gives a reason for.
pub(crate) fn encode(matrix: &Matrix) -> Result<Vec<u8>, ArrowError> {
    let batch = batch(matrix)?;
    let mut bytes = Vec::with_capacity(batch.get_array_memory_size() + 4_096);
    let mut writer = StreamWriter::try_new(&mut bytes, &batch.schema())?;
    writer.write(&batch)?;
    writer.finish()?;
    drop(writer);
    Ok(bytes)
}

fn batch(matrix: &Matrix) -> Result<RecordBatch, ArrowError> {
    let vectors: Vec<Vector<'_>> = matrix.vectors().collect();
    let bars: Vec<Option<BarAsOf>> = vectors.iter().map(BarAsOf::of).collect();
    let close = |bar: &Option<BarAsOf>| bar.and_then(|bar| i64::try_from(bar.ts_close_ns.0).ok());
    let symbols: Vec<_> = matrix.symbols().collect();
    let time = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
    let mut fields = vec![
        Field::new("instrument", DataType::Utf8, false),
        Field::new("bar_ts_close_ns", time, true),
        Field::new("bar_sequence", DataType::UInt64, true),
        Field::new("event_sequence", DataType::UInt64, true),
    ];
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(symbols.iter().map(nautilus_types::Symbol::as_str))),
        Arc::new(bars.iter().map(close).collect::<TimestampNanosecondArray>().with_timezone("UTC")),
        Arc::new(bars.iter().map(|bar| bar.map(|bar| bar.sequence)).collect::<UInt64Array>()),
        Arc::new(
            vectors.iter().map(|v| v.event_as_of().map(|event| event.sequence)).collect::<UInt64Array>(),
        ),
    ];
    for (id, feature) in matrix.ids().zip(matrix.features.iter()) {
        fields.push(Field::new(id, DataType::Float64, true));
        let column = vectors.iter().map(|vector| vector.value(*feature as usize));
        columns.push(Arc::new(column.collect::<Float64Array>()));
    }
    let mut metadata = std::collections::HashMap::from([("definitions".to_owned(), digest(&matrix.picture))]);
    metadata.extend(matrix.next.map(|next| ("next".to_owned(), next.to_string())));
    RecordBatch::try_new(Arc::new(Schema::new_with_metadata(fields, metadata)), columns)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn wants(accept: &[&str]) -> Option<bool> {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(header::ACCEPT, HeaderValue::from_str(value).unwrap());
        }
        wanted(&headers).map_err(|problem| assert_eq!(problem.code(), "not_acceptable")).ok()
    }

    #[test]
    fn arrow_goes_to_who_asks_for_it() {
        for (accept, arrow) in [
            (&[][..], Some(false)),
            (&["*/*"], Some(false)),
            (&["application/json"], Some(false)),
            (&["text/html, application/*;q=0.5"], Some(false)),
            (&[MEDIA], Some(true)),
            (&["application/json, application/vnd.apache.arrow.stream"], Some(true)),
            (&["application/json", "Application/Vnd.Apache.Arrow.Stream;q=0.9"], Some(false)),
            (&["application/json;q=0, */*"], Some(true)),
            (&["application/vnd.apache.arrow.stream;q=0, */*"], Some(false)),
            (&["text/csv"], None),
            (&["application/json;q=0"], None),
            (&["text/html, */*;q=0"], None),
        ] {
            assert_eq!(wants(accept), arrow, "{accept:?}");
        }
    }
}
