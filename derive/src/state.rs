//! The implementation of `Crdt`, field by field.

use proc_macro2::{Span, TokenStream};
use quote::quote_spanned;

use crate::handle;
use crate::input::{Field, Input};

/// As `quote!`, with local variables that no name of the user can meet.
macro_rules! code {
    ($($tokens:tt)*) => { quote_spanned!(Span::mixed_site()=> $($tokens)*) };
}

pub(crate) fn implement(input: &Input<'_>) -> TokenStream {
    let name = input.name;
    let (impls, types, wheres) = input.bounded.split_for_impl();
    let parts = [
        handle_and_reading(input),
        merging_and_undoing(input),
        renaming(input),
        delta(input),
        bytes(input),
        audit(input),
    ];
    code! {
        #[automatically_derived]
        #[allow(clippy::question_mark, reason = "written for any number of fields; with one there is a shorter way")]
        impl #impls ::driftless::Crdt for #name #types #wheres {
            #(#parts)*
        }
    }
}

fn each(input: &Input<'_>, code: impl Fn(&Field<'_>) -> TokenStream) -> Vec<TokenStream> {
    input.fields.iter().map(code).collect()
}

/// The same, for the field that keeps others, too.
fn all(input: &Input<'_>, code: impl Fn(&Field<'_>) -> TokenStream) -> Vec<TokenStream> {
    input.all().map(code).collect()
}

/// As [`all`], with the path to the field: those that are kept stand beside the others, so the path to what keeps them is that to
/// the struct.
fn all_at(input: &Input<'_>, code: impl Fn(&Field<'_>, TokenStream) -> TokenStream) -> Vec<TokenStream> {
    let known = input.fields.iter().map(|field| {
        let Field { number, name, .. } = field;
        code(field, code!(&::driftless::derived::Path::field(path, #number, #name)))
    });
    known.chain(input.unknown.iter().map(|field| code(field, code!(path)))).collect()
}

fn handle_and_reading(input: &Input<'_>) -> TokenStream {
    let handle = handle::name(input);
    let lifetime = handle::lifetime(input.generics);
    let generics = handle::generics(input.generics);
    let (_, types, _) = generics.split_for_impl();
    let bottom = all(input, |Field { ident, of, .. }| code!(#ident: #of::bottom()));
    let is_open = input.unknown.is_some();
    let checks = each(input, |Field { of, name, .. }| {
        let alias =
            format!("`{name}`: the type `UnknownFields` is told by its name, which must not be another");
        let closed = format!(
            "`{name}` cannot be passed on by who does not know it: in a struct with `UnknownFields` all structs need such a \
             field, and at most 7 maps may stand directly around each other"
        );
        code! {
            const { ::core::assert!(#of::SHAPE.is_field(), #alias) };
            const { ::core::assert!(!#is_open || #of::SHAPE.is_open(), #closed) };
        }
    });
    let fork = all(input, |Field { ident, of, .. }| code!(#ident: #of::fork(&self.#ident)));
    let is_live = all(input, |Field { ident, of, .. }| code!(#of::is_live(&self.#ident)));
    let shape = if input.unknown.is_some() { code!(OPEN) } else { code!(CLOSED) };
    let is_bottom = all(input, |Field { ident, of, .. }| code!(#of::is_bottom(&self.#ident)));
    code! {
        type Mut<#lifetime> = #handle #types;

        const SHAPE: ::driftless::derived::Shape = ::driftless::derived::Shape::#shape;

        fn bottom() -> Self {
            #(#checks)*
            Self { #(#bottom),* }
        }

        fn fork(&self) -> Self {
            Self { #(#fork),* }
        }

        fn handle(writer: ::driftless::Writer<'_, Self>) -> Self::Mut<'_> {
            #handle(writer)
        }

        fn is_live(&self) -> bool {
            #(#is_live)||*
        }

        fn is_bottom(&self) -> bool {
            #(#is_bottom)&&*
        }
    }
}

fn merging_and_undoing(input: &Input<'_>) -> TokenStream {
    let join = all_at(input, |Field { ident, of, .. }, inner| {
        code! {
            if absence_speaks || !#of::is_bottom(&theirs.#ident) {
                #of::join(&mut self.#ident, &mut theirs.#ident, merging, #inner);
            }
        }
    });
    let sink =
        all_at(input, |Field { ident, of, .. }, inner| code!(#of::sink(&mut self.#ident, sinking, #inner);));
    let undo = each(input, |Field { ident, of, number, .. }| {
        code! {
            ::core::option::Option::Some((#number, rest)) => #of::undo(&mut self.#ident, rest, before),
        }
    });
    let undo_others = input.unknown.iter().map(|Field { ident, of, .. }| {
        code! {
            ::core::option::Option::Some(_) => #of::undo(&mut self.#ident, steps, before),
        }
    });
    code! {
        fn join(
            &mut self,
            theirs: &mut Self,
            merging: &mut ::driftless::derived::Merging<'_>,
            path: &::driftless::derived::Path<'_>,
        ) {
            // Nearly always few fields come in of many.
            let absence_speaks = merging.absence_speaks();
            #(#join)*
        }

        fn sink(
            &mut self,
            sinking: &mut ::driftless::derived::Sinking<'_>,
            path: &::driftless::derived::Path<'_>,
        ) {
            #(#sink)*
        }

        fn undo(&mut self, steps: &[u32], before: &mut ::driftless::derived::Before) {
            match steps.split_first() {
                #(#undo)*
                #(#undo_others)*
                step => ::core::unreachable!("an undo record leads to a field of its struct, not to {step:?}"),
            }
        }
    }
}

fn renaming(input: &Input<'_>) -> TokenStream {
    let rename = all_at(
        input,
        |Field { ident, of, .. }, inner| code!(#of::rename(&mut self.#ident, renamer, #inner);),
    );
    let lay = each(input, |Field { ident, of, number, .. }| {
        code! {
            if step.is_field(#number) {
                #of::lay(&mut self.#ident, rest, seed);
            }
        }
    });
    let lay_others =
        input.unknown.iter().map(|Field { ident, of, .. }| code!(#of::lay(&mut self.#ident, way, seed);));
    code! {
        fn rename(
            &mut self,
            renamer: &mut ::driftless::derived::Renamer<'_>,
            path: &::driftless::derived::Path<'_>,
        ) {
            #(#rename)*
        }

        fn lay(&mut self, way: &[::driftless::derived::Step], seed: u64) {
            if let ::core::option::Option::Some((step, rest)) = way.split_first() {
                #(#lay)*
            }
            #(#lay_others)*
        }
    }
}

fn delta(input: &Input<'_>) -> TokenStream {
    let locals: Vec<_> = input.all().map(Field::local).collect();
    let raise_marks = all(input, |Field { ident, of, .. }| code!(#of::raise_marks(&self.#ident, marks);));
    let since = all(input, |Field { ident, of, .. }| code!(#of::since(&self.#ident, since)));
    let whole = all(input, |field @ Field { ident, of, .. }| {
        let local = field.local();
        code!(#ident: #local.unwrap_or_else(|| #of::bottom()))
    });
    let shows = all(input, |Field { ident, of, .. }| code!(#of::shows(&self.#ident, seen)));
    let prune = all(input, |Field { ident, of, .. }| code!(#of::prune(&mut self.#ident, pruning)));
    // A chunk must not be filled by what holds nothing, or a transfer would never end.
    let split = all(input, |Field { ident, of, .. }| {
        code! {
            #ident: if splitter.is_full() || #of::is_bottom(&self.#ident) {
                #of::bottom()
            } else {
                #of::split(&mut self.#ident, splitter)
            }
        }
    });
    let append = all(input, |Field { ident, of, .. }| code!(#of::append(&mut self.#ident, next.#ident);));
    let describe = each(input, |Field { of, name, .. }| code!((#name, #of::describe)));
    let is_open = input.unknown.is_some();
    let row_count = all(input, |Field { ident, of, .. }| code!(#of::row_count(&self.#ident)));
    code! {
        fn describe(schema: &mut ::driftless::derived::Schema) {
            schema.fields::<Self>(#is_open, &[#(#describe),*]);
        }

        fn row_count(&self) -> usize {
            0 #(+ #row_count)*
        }

        fn raise_marks(&self, marks: &mut ::driftless::derived::Marks) {
            #(#raise_marks)*
        }

        fn since(&self, since: &::driftless::derived::Since) -> ::core::option::Option<Self> {
            #(let #locals = #since;)*
            if #(#locals.is_none())&&* {
                return ::core::option::Option::None;
            }
            ::core::option::Option::Some(Self { #(#whole),* })
        }

        fn shows(&self, seen: &::driftless::derived::Frontier) -> bool {
            #(#shows)||*
        }

        fn prune(&mut self, pruning: &mut ::driftless::derived::Pruning<'_>) -> bool {
            // Not `||`: each field is to be pruned.
            #(#prune)|*
        }

        fn split(&mut self, splitter: &mut ::driftless::derived::Splitter) -> Self {
            Self { #(#split),* }
        }

        fn append(&mut self, next: Self) {
            #(#append)*
        }
    }
}

fn bytes(input: &Input<'_>) -> TokenStream {
    let note = all(input, |Field { ident, of, .. }| code!(#of::note_events(&self.#ident, events);));
    let form = match &input.unknown {
        None => closed_bytes(input),
        Some(unknown) => open_bytes(input, unknown),
    };
    code! {
        fn note_events(&self, events: &mut ::driftless::derived::Events) {
            #(#note)*
        }

        #form
    }
}

/// Bytes of a struct of which all fields are known.
fn closed_bytes(input: &Input<'_>) -> TokenStream {
    let bitmap = each(
        input,
        |Field { ident, of, number, .. }| code!((u64::from(!#of::is_bottom(&whole.#ident)) << #number)),
    );
    let encode = each(input, |Field { ident, ty, of, number, .. }| {
        code! {
            let present = column.iter().zip(&bitmaps).filter(|(_, bitmap)| **bitmap >> #number & 1 == 1);
            let present: ::std::vec::Vec<&#ty> = present.map(|(whole, _)| &whole.#ident).collect();
            if !present.is_empty() {
                #of::encode(&present, encoder);
            }
        }
    });
    let decode = each(input, |field @ Field { ident, of, number, .. }| {
        let local = field.local();
        code! {
            let count = bitmaps.iter().filter(|bitmap| **bitmap >> #number & 1 == 1).count();
            let mut #local = if count > 0 {
                #of::decode(count, held.map(|held| &held.#ident), decoder)?
            } else {
                ::std::vec::Vec::new()
            }
            .into_iter();
        }
    });
    let put = each(input, |field @ Field { ident, of, number, .. }| {
        let local = field.local();
        code! {
            #ident: if bitmap >> #number & 1 == 1 { #local.next().unwrap_or_else(#of::bottom) } else { #of::bottom() }
        }
    });
    let live = each(
        input,
        |Field { ident, of, number, .. }| code!(u64::from(#of::is_live(&self.#ident)) << #number),
    );
    let canonical = each(input, |Field { ident, of, number, .. }| {
        code! {
            if live >> #number & 1 == 1 {
                #of::canonical(&self.#ident, canonical);
            }
        }
    });
    let known = u64::MAX >> (u64::BITS as usize - input.fields.len());
    code! {
        fn encode(column: &[&Self], encoder: &mut ::driftless::derived::Encoder) {
            let bitmaps: ::std::vec::Vec<u64> = column.iter().map(|whole| #(#bitmap)|*).collect();
            encoder.ints(&bitmaps);
            #(#encode)*
        }

        fn decode(
            count: usize,
            held: ::core::option::Option<&Self>,
            decoder: &mut ::driftless::derived::Decoder<'_>,
        ) -> ::core::result::Result<::std::vec::Vec<Self>, ::driftless::derived::DecodeError> {
            if count == 0 {
                return ::core::result::Result::Ok(::std::vec::Vec::new());
            }
            decoder.nested(|decoder| {
                let at = decoder.at();
                let bitmaps = decoder.ints(count)?;
                let unknown = bitmaps.iter().map(|bitmap| bitmap & !#known).find(|unknown| *unknown != 0);
                if let ::core::option::Option::Some(unknown) = unknown {
                    let field = u64::from(unknown.trailing_zeros());
                    return ::core::result::Result::Err(
                        ::driftless::derived::DecodeError::UnknownField { field, at },
                    );
                }
                #(#decode)*
                let put = |bitmap: u64| Self { #(#put),* };
                ::core::result::Result::Ok(bitmaps.into_iter().map(put).collect())
            })
        }

        fn canonical(&self, canonical: &mut ::driftless::derived::Canonical<'_>) {
            // A release that has more fields, of which none is written, gives the same bytes.
            let live: u64 = #(#live)|*;
            canonical.uint(live);
            #(#canonical)*
        }
    }
}

/// Bytes of a struct that keeps fields that are not known.
fn open_bytes(input: &Input<'_>, Field { ident: unknown, of: open, .. }: &Field<'_>) -> TokenStream {
    let first_unknown = input.fields.len() as u32;
    let bitmap = each(
        input,
        |Field { ident, of, number, .. }| code!((u64::from(!#of::is_bottom(&whole.#ident)) << #number)),
    );
    let encode = each(input, |Field { ident, ty, number, name, .. }| {
        code! {
            let field: ::std::vec::Vec<&#ty> = column.iter().map(|whole| &whole.#ident).collect();
            ::driftless::UnknownFields::encode_field((#number, #name), &field, &unknown, encoder);
        }
    });
    let decode = each(input, |field @ Field { ident, ty, number, name, .. }| {
        let local = field.local();
        code! {
            let held_field = held.map(|held| &held.#ident);
            let mut #local = ::driftless::UnknownFields::decode_field::<#ty>(
                (#number, #name), &bitmaps, held_field, &mut unknown, decoder,
            )?
            .into_iter();
        }
    });
    let put = each(input, |field @ Field { ident, of, .. }| {
        let local = field.local();
        code!(#ident: #local.next().flatten().unwrap_or_else(#of::bottom))
    });
    let live = each(
        input,
        |Field { ident, of, number, .. }| code!((u64::from(#of::is_live(&self.#ident)) << #number)),
    );
    let canonical = each(
        input,
        |Field { ident, number, name, .. }| code!(self.#unknown.canonical_field((#number, #name), &self.#ident, canonical);),
    );
    code! {
        fn encode(column: &[&Self], encoder: &mut ::driftless::derived::Encoder) {
            let unknown: ::std::vec::Vec<&::driftless::UnknownFields> =
                column.iter().map(|whole| &whole.#unknown).collect();
            let bitmaps: ::std::vec::Vec<u64> =
                column.iter().map(|whole| #(#bitmap |)* whole.#unknown.bitmap()).collect();
            encoder.ints(&bitmaps);
            #(#encode)*
            ::driftless::UnknownFields::encode_from(#first_unknown, &unknown, encoder);
        }

        fn decode(
            count: usize,
            held: ::core::option::Option<&Self>,
            decoder: &mut ::driftless::derived::Decoder<'_>,
        ) -> ::core::result::Result<::std::vec::Vec<Self>, ::driftless::derived::DecodeError> {
            if count == 0 {
                return ::core::result::Result::Ok(::std::vec::Vec::new());
            }
            decoder.nested(|decoder| {
                let bitmaps = decoder.ints(count)?;
                let mut unknown: ::std::vec::Vec<::driftless::UnknownFields> = ::std::vec::Vec::new();
                #(#decode)*
                ::driftless::UnknownFields::decode_from(#first_unknown, &bitmaps, &mut unknown, decoder)?;
                // Not to take more memory at once than there must be.
                ::core::mem::drop(bitmaps);
                let mut unknown = unknown.into_iter();
                let put = |_| Self { #(#put,)* #unknown: unknown.next().unwrap_or_else(#open::bottom) };
                ::core::result::Result::Ok((0..count).map(put).collect())
            })
        }

        fn canonical(&self, canonical: &mut ::driftless::derived::Canonical<'_>) {
            canonical.uint(#(#live |)* self.#unknown.live());
            #(#canonical)*
            self.#unknown.canonical_from(#first_unknown, canonical);
        }
    }
}

fn audit(input: &Input<'_>) -> TokenStream {
    let prints =
        all_at(input, |Field { ident, of, .. }, inner| code!(#of::prints(&self.#ident, prints, #inner);));
    let locals: Vec<_> = input.all().map(Field::local).collect();
    let wanted =
        all_at(input, |Field { ident, of, .. }, inner| code!(#of::wanted(&self.#ident, wanted, #inner)));
    let whole = all(input, |field @ Field { ident, of, .. }| {
        let local = field.local();
        code!(#ident: #local.unwrap_or_else(|| #of::bottom()))
    });
    let unreadable = all_at(
        input,
        |Field { ident, of, .. }, inner| code!(#of::find_unreadable(&self.#ident, found, #inner);),
    );
    let repair = all_at(
        input,
        |Field { ident, of, .. }, inner| code!(#of::repair(&mut self.#ident, &mut theirs.#ident, repairing, #inner);),
    );
    code! {
        fn prints(
            &self,
            prints: &mut ::driftless::derived::Prints<'_>,
            path: &::driftless::derived::Path<'_>,
        ) {
            #(#prints)*
        }

        fn wanted(
            &self,
            wanted: &mut ::driftless::derived::Wanted<'_>,
            path: &::driftless::derived::Path<'_>,
        ) -> ::core::option::Option<Self> {
            #(let #locals = #wanted;)*
            if #(#locals.is_none())&&* {
                return ::core::option::Option::None;
            }
            ::core::option::Option::Some(Self { #(#whole),* })
        }

        fn repair(
            &mut self,
            theirs: &mut Self,
            repairing: &mut ::driftless::derived::Repairing<'_>,
            path: &::driftless::derived::Path<'_>,
        ) {
            #(#repair)*
        }

        fn find_unreadable(
            &self,
            found: &mut ::driftless::derived::Unreadable,
            path: &::driftless::derived::Path<'_>,
        ) {
            #(#unreadable)*
        }
    }
}
