//! Old records that lie about in segments.
