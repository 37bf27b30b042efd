//! Live measures, updated per fill: the historical cube and the factor model.
