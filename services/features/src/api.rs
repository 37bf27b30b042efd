//! The routes of the features service.

use axum::extract::State;
use nautilus_engine_features::{FeaturesEngine, Figures};
use nautilus_service::{EngineHandle, Json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Picture;

#[derive(Clone)]
struct Api {
    _engine: EngineHandle<FeaturesEngine>,
    picture: Picture,
}

pub(crate) fn router(engine: EngineHandle<FeaturesEngine>, picture: Picture) -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(get_graph)).with_state(Api { _engine: engine, picture })
}

/// Sizes and counts of the graph, its state and its history.
#[utoipa::path(get, path = "/v1/graph", tag = "features",
    security(("api_key" = ["read"])), responses(
    (status = 200, body = serde_json::Value),
))]
async fn get_graph(State(api): State<Api>) -> Json<Figures> {
    Json(api.picture.load().figures)
}
