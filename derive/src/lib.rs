//! The derive macro of driftless: a struct of mergeable fields becomes mergeable state.
//!
//! An application uses it as `driftless::Crdt`, together with the trait of that name.

mod handle;
mod input;
mod state;

use proc_macro2::TokenStream;
use quote::quote;
use syn::DeriveInput;

use crate::input::Input;

/// Makes a struct of mergeable fields mergeable itself, field by field: two replicas that write different fields of it both
/// keep what they wrote, and the same field merges as its type does.
///
/// ```text
/// #[derive(Crdt)]
/// pub struct User {
///     pub name: LwwRegister<String>,
///     pub tags: OrSet<String>,
///     visits: Counter,
/// }
/// ```
///
/// The struct needs named fields, each of a type that is `Crdt`: the types of driftless, and other structs with this derive.
/// A plain value goes into an `LwwRegister`. Nothing else need be derived. Type parameters are supported: a field type that
/// mentions one becomes a bound, as `LwwRegister<T>: Crdt`.
///
/// # What it generates
///
/// - The implementation of `Crdt`.
/// - A handle with the name of the struct and `Mut` behind it, through which a transaction writes. It is as visible as the
///   struct and has a method for each field, as visible as the field, that returns the field's own handle. The struct can be
///   read through it.
///
/// ```text
/// pub struct UserMut<'writer>(..);
///
/// impl UserMut<'_> {
///     pub fn name(&mut self) -> Writer<'_, LwwRegister<String>>;
///     pub fn tags(&mut self) -> Writer<'_, OrSet<String>>;
///     fn visits(&mut self) -> Writer<'_, Counter>;
/// }
///
/// impl Deref for UserMut<'_> { type Target = User; .. }
/// impl Debug for UserMut<'_> { .. }
/// ```
///
/// # The order of fields is part of the wire format
///
/// In messages, fields are numbered by their position. So a struct that replicas exchange may be changed in two ways only:
///
/// - A field is renamed, unless the struct is open, in all replicas at once. Its number stays.
/// - A field is **appended at the end**. Fields are never reordered and never removed, and not made to depend on `#[cfg]`: their
///   numbers would mean other fields to replicas of the other version.
///
/// Give a struct that may ever grow a field `rest: UnknownFields` from the start. It is no field as the others are: it has no
/// number and no method, and it keeps, merges and passes on the fields that other releases have here. Then a new release may
/// write its fields at once. All structs below need one as well. Whether a struct has one is part of its shape, all replicas
/// must agree on it, and its fields can not be renamed any more. It is told by the last name of its type.
///
/// Without it a message that holds a field the receiver does not know is refused whole, as `DecodeError::UnknownField`: what was
/// left out of it could never be asked for again. So upgrade all replicas before any writes the new field. An untouched field
/// is not sent.
///
/// A struct has at most 64 fields. Beyond that, group fields into structs of their own.
#[proc_macro_derive(Crdt)]
pub fn derive_crdt(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let input = syn::parse_macro_input!(input as DeriveInput);
    expand(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}

fn expand(input: &DeriveInput) -> syn::Result<TokenStream> {
    let input = Input::new(input)?;
    let handle = handle::define(&input);
    let state = state::implement(&input);
    Ok(quote!(#handle #state))
}

#[cfg(test)]
mod tests {
    use super::expand;

    fn error_of(source: &str) -> String {
        let input = syn::parse_str(source).expect("the source of a test is Rust");
        expand(&input).expect_err("the source of a test is refused").to_string()
    }

    fn struct_of(fields: usize) -> String {
        let fields: String = (0..fields).map(|number| format!("f{number}: Flag,")).collect();
        format!("struct Wide {{ {fields} }}")
    }

    #[test]
    fn what_is_no_struct_with_named_fields_is_told_what_to_do() {
        assert!(error_of("struct Position(Counter, Counter);").contains("give the fields names"));
        assert!(error_of("struct Nothing;").contains("give it a field"));
        assert!(error_of("struct Nothing {}").contains("give it a field"));
        assert!(error_of("enum Color { Red, Green }").contains("`LwwRegister<Color>`"));
        assert!(error_of("struct Nothing { rest: UnknownFields }").contains("give it a field"));
        assert!(
            error_of("struct Two { a: Flag, b: UnknownFields, c: driftless::UnknownFields }")
                .contains("leave the others")
        );
        assert!(error_of("union Bits { a: u32, b: f32 }").contains("`LwwRegister<..>`"));
    }

    #[test]
    fn sixty_four_fields_are_the_most() {
        let widest = syn::parse_str(&struct_of(64)).expect("it is Rust");
        assert!(expand(&widest).is_ok());
        assert!(error_of(&struct_of(65)).contains("at most 64 fields, not 65"));
        let open = struct_of(64).replace("{", "{ rest: UnknownFields,");
        assert!(
            expand(&syn::parse_str(&open).expect("it is Rust")).is_ok(),
            "what keeps others has no number"
        );
    }

    #[test]
    fn only_field_types_that_mention_a_parameter_become_bounds() {
        let source = "struct Tree<T> { name: LwwRegister<String>, value: LwwRegister<T>, below: MergeMap<u8, Tree<T>> }";
        let input = syn::parse_str(source).expect("it is Rust");
        let code = expand(&input).expect("it is supported").to_string();
        assert!(code.contains("where LwwRegister < T > : :: driftless :: Crdt {"), "{code}");
    }
}
