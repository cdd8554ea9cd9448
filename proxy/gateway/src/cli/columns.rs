//! Tables for a terminal. They must not know what is in them.

/// Rows under each other, each column as wide as its widest cell.
pub(super) fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            line.push_str(&format!("{cell:<width$}  ", width = width(column)));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
