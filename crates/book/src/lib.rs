//! Order books in integer ticks: order by order and level by level. They decide what a change does to a book; where
//! changes come from is not their business.
